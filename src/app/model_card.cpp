#include "app/model_card.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "mpimerge/base/text.hpp"

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

std::string_view describe(job::Method method) {
  switch (method) {
    case job::Method::ties:
      return "TIES-Merging ([Yadav et al. 2023](https://arxiv.org/abs/2306.01708)), every task "
             "vector trimmed to its largest values over the whole model";
  }
  return {};
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
  std::string card = "---\nbase_model:\n- " + quoted(job.base_name) + "\n";
  for (const job::Task& task : job.tasks) card += "- " + quoted(task.name) + "\n";
  card += "library_name: transformers\ntags:\n- mpimerge\n- merge\n---\n\n";
  card += fmt::format("# {}\n\nMerged by mpimerge {}: {}.\n\n", base::printable(title, kAnyLength),
                      MPIMERGE_VERSION, describe(job.method));
  card += fmt::format("Base model: {}\n\n| model | density | weight |\n| --- | --- | --- |\n",
                      code(job.base_name));
  for (const job::Task& task : job.tasks)
    card += fmt::format("| {} | {} | {} |\n", code(task.name), task.density, task.weight);
  const std::string fence = fence_for(job.text);
  card += fmt::format("\nThe job:\n\n{}yaml\n{}{}{}\n", fence, job.text,
                      job.text.ends_with('\n') ? "" : "\n", fence);
  return card;
}

}  // namespace mpimerge::app
