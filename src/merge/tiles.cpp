#include "merge/tiles.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/kernel/convert.hpp"
#include "mpimerge/kernel/vectors.hpp"

namespace mpimerge::merge {
namespace {

// Elements of all sources' tiles together: what stays in the second-level cache.
constexpr std::size_t kTileElements = std::size_t{1} << 16;
constexpr std::size_t kShortestTile = 1024;
constexpr std::size_t kLongestTile = 8192;
// A longer row, of all sources, is not held in memory at once.
constexpr std::uint64_t kLongestRow = std::uint64_t{1} << 28;

std::size_t tile_elements(std::size_t sources) {
  return std::clamp(std::bit_floor(kTileElements / sources), kShortestTile, kLongestTile);
}

bool all_finite(std::span<const float> values) {
  std::uint32_t found = 0;
  kernel::with_vectors([=, &found] {
    std::uint32_t largest = 0;
    for (const float value : values)
      largest = std::max(largest, std::bit_cast<std::uint32_t>(value) & 0x7fffffffu);
    found = largest;
  });
  return found < 0x7f800000u;
}

}  // namespace

std::uint64_t row_elements(const plan::Tensor& tensor) {
  return tensor.shape.size() < 2 ? tensor.elements.value() : tensor.shape.back();
}

Tiles::Tiles(const plan::Plan& plan, const job::Job& job, const Sources& sources,
             method::Grain grain, BlockStore& rows)
    : plan_(plan),
      sources_(sources),
      grain_(grain),
      refuses_(job.nan == job::NanPolicy::error),
      rows_store_(rows) {}

std::vector<Stretch> Tiles::stretches(const BlockData& block) const {
  std::vector<Stretch> list;
  const std::uint64_t longest = tile_elements(sources_.count());
  for (std::size_t segment = 0; segment < block.segments.size(); ++segment) {
    const plan::Segment& part = block.segments[segment];
    const plan::Tensor& tensor = plan_.tensors[part.tensor];
    if (tensor.role != plan::Role::merge) continue;
    const std::uint64_t row = row_elements(tensor);
    if (grain_ == method::Grain::row && row > kLongestRow / sources_.count()) {
      throw base::Error(
          base::ErrorKind::resources,
          fmt::format("tensor `{}` has rows of {} elements; the method needs whole "
                      "rows of all {} checkpoints in memory, at most {} elements",
                      base::printable(tensor.name), row, sources_.count(), kLongestRow));
    }
    const std::uint64_t last = part.elements.end.value();
    for (std::uint64_t begin = part.elements.begin.value(); begin < last;) {
      Stretch stretch{part.tensor, segment, {}, {}};
      std::uint64_t end = 0;
      if (grain_ == method::Grain::element) {
        end = std::min(last, begin + longest - (tensor.offset.value() + begin) % longest);
        stretch.all = {base::Elements{begin}, base::Elements{end}};
      } else {
        // As many rows as fit a tile, at least one.
        const std::uint64_t first_row = begin / row;
        const std::uint64_t rows = std::max(longest / row, std::uint64_t{1});
        const std::uint64_t past = std::min((first_row + rows) * row, tensor.elements.value());
        end = std::min(last, past);
        stretch.all = {base::Elements{first_row * row},
                       base::Elements{(end + row - 1) / row * row}};
      }
      stretch.own = {base::Elements{begin}, base::Elements{end}};
      list.push_back(stretch);
      begin = end;
    }
  }
  return list;
}

std::vector<Stretch> Tiles::stretches(const BlockData& block, const plan::Coverage& seen) const {
  std::vector<Stretch> list;
  for (const Stretch& stretch : stretches(block)) {
    const base::Elements offset = plan_.tensors[stretch.tensor].offset;
    const base::ElementRange place{offset + stretch.own.begin, offset + stretch.own.end};
    for (const base::ElementRange& gap : seen.gaps(block.group, place)) {
      list.push_back(stretch);
      list.back().own = {gap.begin - offset, gap.end - offset};
      if (grain_ == method::Grain::element) list.back().all = list.back().own;
    }
  }
  return list;
}

std::span<const std::byte> Tiles::raw(const BlockData& block, const Stretch& stretch,
                                      std::size_t source) const {
  const std::uint64_t bytes = base::element_bytes(dtype(stretch, source)).value();
  const std::uint64_t begin =
      (stretch.own.begin - block.segments[stretch.segment].elements.begin).value();
  return block.bytes(source, stretch.segment)
      .subspan(begin * bytes, stretch.own.count().value() * bytes);
}

const float* Tiles::widen(const BlockData& block, const Stretch& stretch, std::size_t source,
                          std::size_t row) {
  // Models that lack a tensor are left out of it; their files cannot be.
  if (plan_.sources[source].extents[stretch.tensor].is_absent()) {
    throw base::Error(
        base::ErrorKind::input,
        fmt::format("{}: tensor `{}` is missing, but is to be merged", plan_.sources[source].name,
                    base::printable(plan_.tensors[stretch.tensor].name)));
  }
  const std::span<float> values =
      std::span(memory_).subspan(row * longest_, stretch.own.count().value());
  kernel::to_f32(dtype(stretch, source), raw(block, stretch, source), values);
  if (refuses_ && !all_finite(values)) {
    std::size_t element = 0;
    while (std::isfinite(values[element])) ++element;
    refuse_non_finite(source, stretch.tensor, stretch.own.begin.value() + element, values[element]);
  }
  return values.data();
}

const method::Tile& Tiles::tile(const BlockData& block, const Stretch& stretch,
                                std::span<const std::size_t> models) {
  const BlockData* data = &block;
  Stretch wanted = stretch;
  if (stretch.all != stretch.own) {
    // The row's other parts lie in other blocks, which may be another rank's.
    const base::Elements offset = plan_.tensors[stretch.tensor].offset;
    data = &rows_store_.peek({block.group, {offset + stretch.all.begin, offset + stretch.all.end}},
                             0, plan_.sources.size() - 1);
    wanted.segment = 0;
    wanted.own = stretch.all;
  }
  const std::size_t elements = wanted.own.count().value();
  if (elements > longest_) {
    longest_ = std::max(elements, tile_elements(sources_.count()));
    memory_ = {};
    memory_.resize(longest_ * sources_.count());
  }
  std::size_t row = 0;
  tile_.first = wanted.own.begin.value();
  tile_.elements = elements;
  tile_.own_begin = (stretch.own.begin - stretch.all.begin).value();
  tile_.own_end = tile_.own_begin + stretch.own.count().value();
  tile_.base = sources_.has_base ? widen(*data, wanted, 0, row++) : nullptr;
  models_.clear();
  files_.clear();
  for (const std::size_t model : models)
    models_.push_back(widen(*data, wanted, sources_.model(model), row++));
  if (sources_.files > 0) {
    for (const std::size_t model : models)
      files_.push_back(widen(*data, wanted, sources_.file(model), row++));
  }
  tile_.signs = sources_.has_signs ? widen(*data, wanted, sources_.signs(), row++) : nullptr;
  tile_.models = models_;
  tile_.files = files_;
  return tile_;
}

void Tiles::refuse_non_finite(std::size_t source, std::size_t tensor, std::uint64_t element,
                              float value) const {
  refuse_value(plan_, source, tensor, element,
               std::isnan(value) ? "is NaN" : "is infinite in float32");
}

void copy_unmerged(const plan::Plan& plan, const BlockData& block, std::span<std::byte> out) {
  const std::size_t size = base::element_bytes(plan.groups[block.group].dtype).value();
  for (std::size_t segment = 0; segment < block.segments.size(); ++segment) {
    const plan::Segment& part = block.segments[segment];
    if (plan.tensors[part.tensor].role != plan::Role::copy) continue;
    std::ranges::copy(block.bytes(0, segment),
                      out.subspan(part.chunk_offset.value() * size).begin());
  }
}

void refuse_value(const plan::Plan& plan, std::size_t source, std::size_t tensor,
                  std::uint64_t element, const char* what) {
  throw base::Error(
      base::ErrorKind::input,
      fmt::format(
          "{}: tensor `{}`, element {} {}; expected finite values (`nan: allow` lets it through)",
          plan.sources[source].name, base::printable(plan.tensors[tensor].name), element, what));
}

}  // namespace mpimerge::merge
