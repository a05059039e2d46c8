#pragma once

#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/method/method.hpp"

namespace mpimerge::job::test {

/// A job with nothing but what is required, on lines 1 to 4.
inline constexpr std::string_view kSmallest =
    "merge_method: ties\n"
    "base_model: base\n"
    "models:\n"
    "  - model: math\n";

/// Local. Methods for these tests: `ties` and `average`, as long as the registry has none, one of a base and a
/// model, one of a model alone, one that may do without a base, one with files beside its models and no need of a base.
inline bool add_methods() {
  using method::Parameter;
  const auto add = [](const method::Description& description) {
    if (method::find(description.name) == nullptr) method::add(description);
  };
  method::Description ties;
  ties.name = "ties";
  ties.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1},
                     {.name = "density",
                      .of = Parameter::Of::model,
                      .fallback = 0.2,
                      .least = 0,
                      .most = 1,
                      .above_least = true,
                      .mergekit_fallback = 1},
                     {.name = "lambda", .fallback = 1},
                     {.name = "normalize", .fallback = 1, .is_flag = true},
                     {.name = "rescale", .fallback = 0, .is_flag = true}};
  add(ties);
  method::Description average;
  average.name = "average";
  average.base = method::Base::unused;
  average.parameters = {{.name = "weight", .of = Parameter::Of::model, .fallback = 1}};
  add(average);
  method::Description between;
  between.name = "between";
  between.most_models = 1;
  between.parameters = {{.name = "t", .least = 0, .most = 1}};
  add(between);
  method::Description passes;
  passes.name = "passes";
  passes.base = method::Base::unused;
  passes.most_models = 1;
  passes.parameters = {{.name = "scale", .of = Parameter::Of::model, .fallback = 1}};
  add(passes);
  method::Description tasks_or_models;
  tasks_or_models.name = "tasks_or_models";
  tasks_or_models.base = method::Base::optional;
  add(tasks_or_models);
  method::Description with_files;
  with_files.name = "with_files";
  with_files.base = method::Base::optional;
  with_files.fewest_models = 2;
  with_files.most_models = 3;
  with_files.parameters = {{.name = "normalize", .fallback = 1, .is_flag = true},
                           {.name = "eps", .fallback = 1, .least = 0, .above_least = true}};
  with_files.files = "fisher";
  add(with_files);
  return true;
}
inline const bool kMethodsAreAdded = add_methods();

inline Job parse(std::string_view yaml, const std::vector<std::string>& sets = {}) {
  return parse_job(yaml, "dir/job.yaml", sets);
}

/// The lines of the error that parsing ends with; none if it does not.
inline std::vector<std::string> faults_of(std::string_view yaml,
                                          const std::vector<std::string>& sets = {},
                                          base::ErrorKind kind = base::ErrorKind::job) {
  std::vector<std::string> lines;
  try {
    parse(yaml, sets);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    std::istringstream text(error.what());
    for (std::string line; std::getline(text, line);) lines.push_back(line);
  }
  return lines;
}

}  // namespace mpimerge::job::test
