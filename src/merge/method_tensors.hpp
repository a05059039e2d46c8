#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "mpimerge/job/job.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/method/method.hpp"
#include "mpimerge/plan/plan.hpp"

#include "merge/sources.hpp"

namespace mpimerge::merge {

/// What a method is told of the tensors, and what it has learnt of them so far. All local.
class MethodTensors {
 public:
  /// Keeps references to all.
  MethodTensors(const plan::Plan& plan, const job::Job& job, const method::Description& description,
                const Sources& sources, method::Method& method);

  /// A tensor that is to be merged; valid until the next call.
  [[nodiscard]] const method::Tensor& tensor(std::size_t number);
  /// The models that have the tensor of the last call.
  [[nodiscard]] const std::vector<std::size_t>& models() const { return models_; }

  /// The group of a tensor, and where in the group it lies.
  [[nodiscard]] std::size_t group(std::size_t number) const;
  [[nodiscard]] base::ElementRange place(std::size_t number) const;

  /// Whether more than one rank has elements of a tensor.
  [[nodiscard]] bool crosses(std::size_t number) const;

  /// Shows the method what a pass found of a tensor; of the whole model.
  void learn(std::size_t pass, std::size_t number, std::span<const double> found);
  void learn_of_model(std::size_t pass, std::span<const double> found);

  /// Forgets what is known of a tensor.
  void forget(std::size_t number) { std::ranges::fill(facts_of(number), 0.0); }

  /// What is known of all tensors, one after another, and of the model: for the journal.
  [[nodiscard]] std::span<double> facts() { return facts_; }
  [[nodiscard]] std::span<const double> facts() const { return facts_; }
  [[nodiscard]] std::span<double> model_facts() { return model_facts_; }
  [[nodiscard]] std::span<const double> model_facts() const { return model_facts_; }

 private:
  [[nodiscard]] std::span<double> facts_of(std::size_t tensor);

  const plan::Plan& plan_;
  const job::Job& job_;
  const method::Description& description_;
  const Sources& sources_;
  method::Method& method_;
  std::vector<double> depths_;           // by tensor
  std::vector<std::size_t> first_fact_;  // by tensor, and the end
  std::vector<double> facts_;
  std::vector<double> model_facts_;

  // The tensor in hand.
  std::size_t number_ = static_cast<std::size_t>(-1);
  method::Tensor tensor_;
  job::Numbers numbers_;
  std::vector<std::size_t> models_;
  std::vector<double> of_models_;
};

}  // namespace mpimerge::merge
