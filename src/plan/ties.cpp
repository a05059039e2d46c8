#include "mpimerge/plan/ties.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpimerge/base/text.hpp"
#include "mpimerge/checkpoint/ties.hpp"

namespace mpimerge::plan {
namespace {

using checkpoint::Catalog;
using checkpoint::TensorInfo;

TensorInfo* find(Catalog& catalog, std::string_view name) {
  const auto found = std::ranges::find(catalog.tensors, name, &TensorInfo::name);
  return found == catalog.tensors.end() ? nullptr : &*found;
}

/// What a tensor is in one model.
struct Place {
  Catalog* catalog;
  TensorInfo* tensor;  ///< null: the model lacks it
  std::string other;   ///< the tensor that it is again, or would be; empty: none

  [[nodiscard]] bool is_tied() const { return tensor != nullptr && !other.empty(); }
  [[nodiscard]] bool is_own() const { return tensor != nullptr && other.empty(); }
  [[nodiscard]] bool can_be_made() const { return tensor == nullptr && !other.empty(); }
};

// What the model has in place of a tensor that it lacks, if it does not say that there is nothing.
std::string other_of(Catalog& catalog, const std::string& name, const std::set<std::string>& ties) {
  if (checkpoint::is_head(name)) {
    if (catalog.ties_embeddings == false) return {};
    return checkpoint::embeddings_of(catalog).value_or("");
  }
  for (const std::string& other : ties) {
    if (find(catalog, other) != nullptr) return other;
  }
  return {};
}

// From here on the tensor is the other one by its bytes too.
void tie(const Place& place, const std::string& name) {
  TensorInfo made = *find(*place.catalog, place.other);
  made.name = name;
  if (place.tensor != nullptr)
    *place.tensor = made;
  else
    place.catalog->tensors.push_back(made);
  place.catalog->tied.insert_or_assign(name, place.other);
  std::ranges::sort(place.catalog->tensors, [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.file, a.offset, a.bytes, a.name) <
           std::tie(b.file, b.offset, b.bytes, b.name);
  });
}

std::string paths_of(const std::vector<Place>& places, bool (Place::*is)() const) {
  std::vector<std::string> paths;
  for (const Place& place : places) {
    if ((place.*is)()) paths.push_back(place.catalog->path);
  }
  return base::printable(fmt::format("{}", fmt::join(paths, ", ")));
}

std::optional<std::string> resolve(const std::string& name, const std::set<std::string>& ties,
                                   std::span<Catalog> models) {
  std::vector<Place> places;
  for (Catalog& model : models) {
    const auto known = model.tied.find(name);
    Place place{&model, find(model, name), known == model.tied.end() ? "" : known->second};
    if (place.tensor == nullptr) place.other = other_of(model, name, ties);
    places.push_back(std::move(place));
  }
  const bool has_own = std::ranges::any_of(places, &Place::is_own);
  const bool has_tied = std::ranges::any_of(places, &Place::is_tied);
  const bool can_make = std::ranges::any_of(places, &Place::can_be_made);
  if (!has_tied && !(has_own && can_make)) return std::nullopt;
  const std::string tensor = base::printable(name);
  if (!has_own && places.front().tensor == nullptr) {
    const std::string paths = paths_of(places, &Place::is_tied);
    for (const Place& place : places) {
      if (place.tensor == nullptr) continue;
      place.catalog->tied.erase(name);
      place.catalog->tensors.erase(place.catalog->tensors.begin() +
                                   (place.tensor - place.catalog->tensors.data()));
    }
    return fmt::format("`{}` of {} is left out: it is tied there, and {} has none", tensor, paths,
                       models.front().path);
  }
  const std::string own = paths_of(places, &Place::is_own);
  const std::string other = base::printable(
      std::ranges::find_if(places, [](const Place& place) { return !place.other.empty(); })->other);
  for (const Place& place : places) {
    if (!place.other.empty()) tie(place, name);
  }
  if (!has_own) return fmt::format("`{}` is `{}` again: merged alike, counted once", tensor, other);
  return fmt::format("`{}` is one of its own in {}; the other models count with `{}`", tensor, own,
                     other);
}

}  // namespace

std::vector<std::string> resolve_ties(std::span<Catalog> models) {
  std::map<std::string, std::set<std::string>> ties;  // by name, what it is again in some model
  for (const Catalog& model : models) {
    for (const auto& [name, other] : model.tied) ties[name].insert(other);
    for (const TensorInfo& tensor : model.tensors) {
      if (checkpoint::is_head(tensor.name)) ties[tensor.name];
    }
  }
  std::vector<std::string> lines;
  for (const auto& [name, others] : ties) {
    if (auto line = resolve(name, others, models)) lines.push_back(std::move(*line));
  }
  return lines;
}

bool unties_head(const Catalog& first, const Plan& plan) {
  return std::ranges::any_of(plan.tensors, [&](const Tensor& tensor) {
    return checkpoint::is_head(tensor.name) && tensor.counts() && first.tied.contains(tensor.name);
  });
}

}  // namespace mpimerge::plan
