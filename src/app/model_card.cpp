#include "app/model_card.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/text.hpp"
#include "mpimerge/job/numbers.hpp"
#include "mpimerge/method/method.hpp"

namespace mpimerge::app {
namespace {

constexpr std::size_t kAnyLength = 4096;

// What YAML takes for the same text, whatever is in it: JSON's strings are YAML's.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

// As code in a table of Markdown.
std::string code(const std::string& text) {
  const std::string name = base::printable(text, kAnyLength);
  const std::string fence = name.find('`') == std::string::npos ? "`" : "`` ";
  std::string span = fence;
  for (const char letter : name) {
    if (letter == '|') span += '\\';
    span += letter;
  }
  return span + std::string(fence.rbegin(), fence.rend());
}

// More backticks than stand in a row anywhere in the text.
std::string fence_for(std::string_view text) {
  std::size_t longest = 2;
  std::size_t row = 0;
  for (const char letter : text) {
    row = letter == '`' ? row + 1 : 0;
    longest = std::max(longest, row);
  }
  return std::string(longest + 1, '`');
}

}  // namespace

std::string model_card(const job::Job& job, const std::string& title) {
  std::string card = "---\nbase_model:\n";
  if (!job.base_name.empty() && job.base_constant == job::ConstantBase::none)
    card += "- " + quoted(job.base_name) + "\n";
  for (const job::Task& task : job.tasks) card += "- " + quoted(task.name) + "\n";
  card += "library_name: transformers\ntags:\n- mpimerge\n- merge\n---\n\n";
  const method::Description& method = *method::find(job.method);
  card +=
      fmt::format("# {}\n\nMerged by mpimerge {}: {}, {}.\n\n", base::printable(title, kAnyLength),
                  MPIMERGE_VERSION, method.name, method.about);
  if (!job.base_name.empty()) card += fmt::format("Base model: {}\n\n", code(job.base_name));
  std::string names = "| model |";
  std::string rule = "| --- |";
  for (const method::Parameter& parameter : method.parameters) {
    if (parameter.of != method::Parameter::Of::model) continue;
    names += fmt::format(" {} |", parameter.name);
    rule += " --- |";
  }
  card += fmt::format("{}\n{}\n", names, rule);
  for (std::size_t task = 0; task < job.tasks.size(); ++task) {
    card += fmt::format("| {} |", code(job.tasks[task].name));
    for (const method::Parameter& parameter : method.parameters) {
      if (parameter.of != method::Parameter::Of::model) continue;
      const auto value = job::constant(job, parameter.name, task);
      card += value ? fmt::format(" {} |", *value) : " by tensor |";
    }
    card += '\n';
  }
  const std::string fence = fence_for(job.text);
  card += fmt::format("\nThe job:\n\n{}yaml\n{}{}{}\n", fence, job.text,
                      job.text.ends_with('\n') ? "" : "\n", fence);
  return card;
}

}  // namespace mpimerge::app
