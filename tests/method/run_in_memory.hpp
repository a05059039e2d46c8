#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/method/method.hpp"

namespace mpimerge::test {

/// One tensor with the values of all checkpoints.
struct TensorValues {
  std::string name;
  std::vector<std::uint64_t> shape;
  std::vector<std::vector<float>> models;
  std::vector<float> base = {};                ///< empty: the merge has no base
  std::vector<std::vector<float>> files = {};  ///< beside the models
  std::vector<float> signs = {};
  std::vector<std::size_t> numbers = {};  ///< places of its models in the job; empty: 0, 1, ...

  [[nodiscard]] std::size_t elements() const { return models.front().size(); }
};

/// A merge as a job would ask for it.
struct Recipe {
  std::string method;
  std::vector<TensorValues> tensors;
  std::map<std::string, double, std::less<>> of_merge = {};
  std::map<std::string, std::vector<double>, std::less<>> of_models = {};  ///< by place in the job
  method::Rules rules = {};
  /// Elements of a tile; a multiple of kUnit. Bounds are multiples of it in the row of all tensors.
  std::size_t cut = std::size_t{1} << 20;

  static constexpr std::size_t kUnit = 8;  ///< of sums
};

/// Runs a method over tensors in memory, on one rank, with the plainest algorithms.
class InMemory {
 public:
  explicit InMemory(const Recipe& recipe) : recipe_(recipe), method_(*method::find(recipe.method)) {
    method::Setup setup;
    setup.rules = recipe.rules;
    for (const TensorValues& values : recipe.tensors) {
      for (std::size_t model = 0; model < values.models.size(); ++model)
        setup.models = std::max(setup.models, number(values, model) + 1);
    }
    setup.may_be = [this](std::string_view flag, bool value) {
      return (of_merge(parameter(flag)) != 0) == value;
    };
    merge_ = method_.make(setup);
    models_ = setup.models;
    std::uint64_t offset = 0;
    for (const TensorValues& values : recipe.tensors) {
      states_.push_back(std::make_unique<State>());
      prepare(values, *states_.back());
      states_.back()->offset = offset;
      offset += values.elements();
    }
  }

  std::vector<std::vector<float>> merged() {
    const std::vector<method::Pass> passes = merge_->passes();
    model_facts_.assign(merge_->model_facts(), 0);
    for (std::size_t t = 0; t < states_.size(); ++t) {
      State& state = *states_[t];
      state.tensor.model_facts = model_facts_;
      state.facts.assign(merge_->facts(state.tensor), 0);
      state.tensor.facts = state.facts;
    }
    for (std::size_t pass = 0; pass < passes.size(); ++pass) {
      switch (passes[pass].kind) {
        case method::Pass::Kind::sums: sum_tensors(pass); break;
        case method::Pass::Kind::model_sums: sum_model(pass); break;
        case method::Pass::Kind::ranks: rank(pass); break;
        case method::Pass::Kind::model_trim: trim(pass); break;
      }
    }
    std::vector<std::vector<float>> result;
    for (std::size_t t = 0; t < states_.size(); ++t) {
      result.emplace_back(recipe_.tensors[t].elements(), 77.0F);
      each_tile(t, [&](const method::Tile& tile) {
        std::vector<float> merged(tile.elements, 99.0F);
        merge_->merge(states_[t]->tensor, tile, merged.data());
        for (std::size_t i = tile.own_begin; i < tile.own_end; ++i)
          result.back()[tile.first + i] = merged[i];
      });
    }
    return result;
  }

  [[nodiscard]] std::span<const double> facts(std::size_t tensor) const {
    return states_[tensor]->facts;
  }
  [[nodiscard]] std::span<const double> model_facts() const { return model_facts_; }

 private:
  struct State {
    method::Tensor tensor;
    std::uint64_t offset = 0;
    std::vector<std::size_t> numbers;
    std::vector<double> of_merge;
    std::vector<double> of_models;
    std::vector<double> facts;
  };

  static std::size_t number(const TensorValues& values, std::size_t model) {
    return values.numbers.empty() ? model : values.numbers[model];
  }

  const method::Parameter& parameter(std::string_view name) const {
    return *std::ranges::find(method_.parameters, name, &method::Parameter::name);
  }

  double fallback(const method::Parameter& parameter) const {
    const bool mergekit = recipe_.rules.compat == method::Compat::mergekit;
    const auto value =
        mergekit && parameter.mergekit_fallback ? parameter.mergekit_fallback : parameter.fallback;
    EXPECT_TRUE(value) << "the test has to give " << parameter.name;
    return value.value_or(0);
  }

  double of_merge(const method::Parameter& parameter) const {
    const auto given = recipe_.of_merge.find(parameter.name);
    return given == recipe_.of_merge.end() ? fallback(parameter) : given->second;
  }

  double of_model(const method::Parameter& parameter, std::size_t number) const {
    const auto given = recipe_.of_models.find(parameter.name);
    return given == recipe_.of_models.end() ? of_merge(parameter) : given->second.at(number);
  }

  void prepare(const TensorValues& values, State& state) {
    const std::size_t models = values.models.size();
    for (std::size_t model = 0; model < models; ++model)
      state.numbers.push_back(number(values, model));
    for (const method::Parameter& each : method_.parameters) {
      const bool of_models = each.of == method::Parameter::Of::model;
      state.of_merge.push_back(of_models ? 0 : of_merge(each));
      for (std::size_t model = 0; model < models; ++model)
        state.of_models.push_back(of_models ? of_model(each, number(values, model)) : 0);
    }
    state.tensor.name = values.name;
    state.tensor.shape = values.shape;
    state.tensor.elements = values.elements();
    state.tensor.models = models;
    state.tensor.numbers = state.numbers;
    state.tensor.has_base = !values.base.empty();
    state.tensor.of_merge = state.of_merge;
    state.tensor.of_models = state.of_models;
  }

  template <class Visit>
  void each_tile(std::size_t t, Visit visit) {
    const TensorValues& values = recipe_.tensors[t];
    const State& state = *states_[t];
    const std::size_t row = std::max<std::size_t>(state.tensor.row(), 1);
    const bool rows = merge_->grain() == method::Grain::row;
    for (std::size_t begin = 0; begin < values.elements();) {
      const std::size_t end = std::min<std::size_t>(
          values.elements(), begin + recipe_.cut - (state.offset + begin) % recipe_.cut);
      const std::size_t first = rows ? begin / row * row : begin;
      const std::size_t last = rows ? (end + row - 1) / row * row : end;
      method::Tile tile;
      tile.first = first;
      tile.elements = last - first;
      tile.own_begin = begin - first;
      tile.own_end = end - first;
      // Of the exact length, so that a sanitizer sees a step outside.
      const auto part = [&](const std::vector<float>& all) {
        return std::vector<float>(all.begin() + static_cast<std::ptrdiff_t>(first),
                                  all.begin() + static_cast<std::ptrdiff_t>(last));
      };
      std::vector<std::vector<float>> parts;
      parts.reserve(2 + values.models.size() + values.files.size());
      const auto add = [&](const std::vector<float>& all) {
        parts.push_back(part(all));
        return parts.back().data();
      };
      if (!values.base.empty()) tile.base = add(values.base);
      if (!values.signs.empty()) tile.signs = add(values.signs);
      std::vector<const float*> models;
      for (const auto& model : values.models) models.push_back(add(model));
      std::vector<const float*> files;
      for (const auto& file : values.files) files.push_back(add(file));
      tile.models = models;
      tile.files = files;
      visit(tile);
      begin = end;
    }
  }

  void add_up(std::size_t pass, std::size_t t, std::vector<method::ExactSum>& sums) {
    each_tile(t, [&](const method::Tile& tile) {
      method::Sums tile_sums(sums, tile, Recipe::kUnit, states_[t]->offset + tile.first);
      merge_->add(pass, states_[t]->tensor, tile, tile_sums);
    });
  }

  static std::vector<double> values_of(const std::vector<method::ExactSum>& sums) {
    std::vector<double> values;
    for (const method::ExactSum& sum : sums) values.push_back(sum.value());
    return values;
  }

  void sum_tensors(std::size_t pass) {
    for (std::size_t t = 0; t < states_.size(); ++t) {
      State& state = *states_[t];
      std::vector<method::ExactSum> sums(merge_->sums(pass, state.tensor));
      if (sums.empty()) continue;
      add_up(pass, t, sums);
      merge_->learn(pass, state.tensor, values_of(sums), state.facts);
    }
  }

  void sum_model(std::size_t pass) {
    std::vector<method::ExactSum> sums(merge_->sums(pass, states_.front()->tensor));
    for (std::size_t t = 0; t < states_.size(); ++t) add_up(pass, t, sums);
    merge_->learn(pass, states_.front()->tensor, values_of(sums), model_facts_);
  }

  static double at(std::vector<float> values, std::uint64_t position) {
    if (position == 0) return 0;
    const auto by_bits = [](float a, float b) {
      return (std::bit_cast<std::uint32_t>(a) << 1) < (std::bit_cast<std::uint32_t>(b) << 1);
    };
    const auto place = values.begin() + static_cast<std::ptrdiff_t>(position - 1);
    std::nth_element(values.begin(), place, values.end(), by_bits);
    return std::abs(*place);
  }

  static std::vector<float> task_vector(const TensorValues& values, std::size_t model) {
    std::vector<float> delta = values.models[model];
    for (std::size_t i = 0; i < delta.size(); ++i) delta[i] -= values.base[i];
    return delta;
  }

  void rank(std::size_t pass) {
    for (std::size_t t = 0; t < states_.size(); ++t) {
      State& state = *states_[t];
      const auto ranks = merge_->ranks(pass, state.tensor);
      std::vector<double> found;
      for (const auto& sought : ranks) {
        std::vector<float> values;
        if (sought.model == method::Method::Rank::kOwn) {
          each_tile(t, [&](const method::Tile& tile) {
            std::vector<float> own(tile.elements);
            merge_->magnitudes(pass, state.tensor, tile, own.data());
            values.insert(values.end(), own.begin() + static_cast<std::ptrdiff_t>(tile.own_begin),
                          own.begin() + static_cast<std::ptrdiff_t>(tile.own_end));
          });
        } else {
          values = task_vector(recipe_.tensors[t], sought.model);
        }
        EXPECT_LE(sought.position, values.size());
        found.push_back(at(std::move(values), sought.position));
      }
      if (!ranks.empty()) merge_->learn(pass, state.tensor, found, state.facts);
    }
  }

  void trim(std::size_t pass) {
    std::vector<double> found;
    for (std::size_t number = 0; number < models_; ++number) {
      std::vector<float> all;
      for (const TensorValues& values : recipe_.tensors) {
        const std::vector<float> part = task_vector(values, number);
        all.insert(all.end(), part.begin(), part.end());
      }
      const double density = of_model(parameter("density"), number);
      const auto count = static_cast<double>(all.size());
      const std::uint64_t position = all.size() - static_cast<std::uint64_t>(count * density);
      found.push_back(at(std::move(all), position));
    }
    merge_->learn(pass, states_.front()->tensor, found, model_facts_);
  }

  const Recipe& recipe_;
  const method::Description& method_;
  std::unique_ptr<method::Method> merge_;
  std::size_t models_ = 0;
  std::vector<std::unique_ptr<State>> states_;
  std::vector<double> model_facts_;
};

inline std::vector<std::vector<float>> merge_in_memory(const Recipe& recipe) {
  return InMemory(recipe).merged();
}

/// The bits of all values, so that −0 and NaN count too.
inline std::vector<std::uint32_t> bits_of(const std::vector<std::vector<float>>& tensors) {
  std::vector<std::uint32_t> bits;
  for (const auto& tensor : tensors) {
    for (const float value : tensor) bits.push_back(std::bit_cast<std::uint32_t>(value));
  }
  return bits;
}

/// Expects the same bits wherever the tensors are cut.
inline void expect_same_at_every_cut(Recipe recipe) {
  const std::vector<std::uint32_t> whole = bits_of(merge_in_memory(recipe));
  for (const std::size_t cut : {8U, 24U, 40U, 256U}) {
    recipe.cut = cut;
    EXPECT_EQ(bits_of(merge_in_memory(recipe)), whole) << recipe.method << " in tiles of " << cut;
  }
}

}  // namespace mpimerge::test
