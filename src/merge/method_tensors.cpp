#include "merge/method_tensors.hpp"

#include <cstdint>
#include <string_view>

namespace mpimerge::merge {
namespace {

std::vector<double> depths_of(const plan::Plan& plan, const job::Job& job) {
  std::vector<std::string_view> names;
  for (const plan::Tensor& tensor : plan.tensors) names.push_back(tensor.name);
  return job::depths(job, names);
}

}  // namespace

MethodTensors::MethodTensors(const plan::Plan& plan, const job::Job& job,
                             const method::Description& description, const Sources& sources,
                             method::Method& method)
    : plan_(plan),
      job_(job),
      description_(description),
      sources_(sources),
      method_(method),
      depths_(depths_of(plan, job)),
      model_facts_(method.model_facts()) {
  std::size_t facts = 0;
  for (std::size_t number = 0; number < plan.tensors.size(); ++number) {
    first_fact_.push_back(facts);
    if (plan.tensors[number].role == plan::Role::merge) facts += method.facts(tensor(number));
  }
  first_fact_.push_back(facts);
  facts_.assign(facts, 0);
  number_ = static_cast<std::size_t>(-1);  // its facts lie elsewhere now
}

const method::Tensor& MethodTensors::tensor(std::size_t number) {
  if (number == number_) return tensor_;
  number_ = number;
  const plan::Tensor& of_plan = plan_.tensors[number];
  models_.clear();
  for (std::size_t model = 0; model < sources_.models; ++model) {
    if (!plan_.sources[sources_.model(model)].extents[number].is_absent()) models_.push_back(model);
  }
  numbers_ = job::numbers(job_, description_, of_plan.name, depths_[number]);
  of_models_.clear();
  for (std::size_t parameter = 0; parameter < description_.parameters.size(); ++parameter) {
    for (const std::size_t model : models_)
      of_models_.push_back(numbers_.of_models[parameter * sources_.models + model]);
  }
  tensor_.name = of_plan.name;
  tensor_.shape = of_plan.shape;
  tensor_.elements = of_plan.elements.value();
  tensor_.models = models_.size();
  tensor_.numbers = models_;
  tensor_.has_base = sources_.has_base;
  tensor_.of_merge = numbers_.of_merge;
  tensor_.of_models = of_models_;
  if (!facts_.empty()) tensor_.facts = facts_of(number);
  tensor_.model_facts = model_facts_;
  return tensor_;
}

std::span<double> MethodTensors::facts_of(std::size_t tensor) {
  return std::span(facts_).subspan(first_fact_[tensor],
                                   first_fact_[tensor + 1] - first_fact_[tensor]);
}

std::size_t MethodTensors::group(std::size_t number) const {
  std::size_t group = 0;
  while (plan_.groups[group].last_tensor <= number) ++group;
  return group;
}

base::ElementRange MethodTensors::place(std::size_t number) const {
  const plan::Tensor& tensor = plan_.tensors[number];
  return {tensor.offset, tensor.offset + tensor.elements};
}

bool MethodTensors::crosses(std::size_t number) const {
  const base::ElementRange range = place(number);
  if (range.empty()) return false;
  const plan::ShardMap shards = plan_.shards(group(number));
  return shards.owner(range.begin) != shards.owner(range.end - base::Elements{1});
}

void MethodTensors::learn(std::size_t pass, std::size_t number, std::span<const double> found) {
  // The tensor's facts are shown to the method and filled by it: the same place.
  const method::Tensor& of = tensor(number);
  method_.learn(pass, of, found, facts_of(number));
}

void MethodTensors::learn_of_model(std::size_t pass, std::span<const double> found) {
  method::Tensor whole;
  whole.models = sources_.models;
  whole.model_facts = model_facts_;
  method_.learn(pass, whole, found, model_facts_);
}

}  // namespace mpimerge::merge
