#include "mpimerge/report/page.hpp"

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "mpimerge/base/text.hpp"

#include "report/figures.hpp"
#include "report/groups.hpp"
#include "report/markup.hpp"
#include "report/style.hpp"
#include "report/tables.hpp"

namespace mpimerge::report {
namespace {

constexpr std::size_t kMostInputs = 200;
constexpr std::size_t kLongestJob = 100'000;

std::string tile(std::string_view name, const std::string& value,
                 const std::string& attribute = {}) {
  return fmt::format("<div><dt>{}</dt><dd{}>{}</dd></div>\n", name, attribute, value);
}

std::string share_tile(std::string_view name, std::uint64_t count, std::uint64_t of) {
  const double share = static_cast<double>(count) / static_cast<double>(of);
  return tile(name, percent(share), data_value(share));
}

std::string count_tile(std::string_view name, std::uint64_t count) {
  return tile(name, grouped(count), data_value(count));
}

std::string tiles(const Document& document) {
  const Report& report = document.report;
  const Row& all = report.all;
  std::string text =
      count_tile("tasks", report.tasks.size()) +
      count_tile(report.level == "compare" ? "parameters" : "parameters merged", all.elements) +
      count_tile("tensors", report.tensors);
  if (all.conflicts_before_trim) {
    text += share_tile(report.trimmed ? "in conflict before the trim" : "in conflict",
                       *all.conflicts_before_trim, all.elements);
  }
  if (all.conflicts_after_trim)
    text += share_tile("in conflict after it", *all.conflicts_after_trim, all.elements);
  if (all.signs) {
    text += share_tile("elected +", all.signs->positive, all.elements) +
            share_tile("elected −", all.signs->negative, all.elements) +
            share_tile("cancelled", all.signs->cancelled, all.elements) +
            share_tile("untouched", all.signs->untouched, all.elements);
  }
  return "<dl class=\"tiles\">\n" + text + "</dl>\n";
}

std::string lead(const Document& document) {
  std::vector<std::string> parts;
  if (!document.method.empty()) parts.push_back("method " + code(document.method));
  if (document.ranks)
    parts.push_back(fmt::format("{} rank{}", *document.ranks, *document.ranks == 1 ? "" : "s"));
  if (!document.started.empty()) parts.push_back("begun " + escape(document.started, 40));
  parts.push_back("mpimerge " + escape(document.program, 40));
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : " · ") + part;
  return "<p class=\"lead\">" + text + "</p>\n";
}

std::string note(const Report& report) {
  if (report.level != "basic") return {};
  return "<p class=\"note\">This merge counted <code>basic</code> statistics only. With "
         "<code>report: full</code> in the job a merge also counts magnitudes, norms, cosines and "
         "agreement of signs; <code>mpimerge report JOB.yaml</code> counts them without writing a "
         "model again.</p>\n";
}

std::string section(std::string_view title, const std::vector<Figure>& figures) {
  if (figures.empty()) return {};
  std::string text = fmt::format("<section>\n<h2>{}</h2>\n<div class=\"figures\">\n", title);
  for (const Figure& figure : figures) {
    text +=
        fmt::format("<figure id=\"{}\">\n<h3>{}</h3>\n{}<figcaption>{}</figcaption>\n</figure>\n",
                    figure.id, figure.title, figure.svg, figure.caption);
  }
  return text + "</div>\n</section>\n";
}

std::string details(const std::string& summary, const std::string& content) {
  if (content.empty()) return {};
  return fmt::format("<details>\n<summary>{}</summary>\n{}</details>\n", summary, content);
}

// Line breaks stay, which `escape` would show as what they are.
std::string escaped_lines(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    out += escape(text.substr(0, end), 1000) + "\n";
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

std::string job_text(const std::string& job) {
  if (job.empty()) return {};
  const std::string cut = job.size() > kLongestJob ? "...\n" : "";
  return "<pre><code>" + escaped_lines(std::string_view(job).substr(0, kLongestJob)) + cut +
         "</code></pre>\n";
}

std::string input_list(const std::vector<std::string>& inputs) {
  if (inputs.empty()) return {};
  std::string text = "<ul>\n";
  for (std::size_t number = 0; number < std::min(inputs.size(), kMostInputs); ++number)
    text += "<li>" + code(inputs[number]) + "</li>\n";
  if (inputs.size() > kMostInputs)
    text += fmt::format("<li>and {} more</li>\n", inputs.size() - kMostInputs);
  return text + "</ul>\n";
}

std::string phase_table(const std::vector<Phase>& phases) {
  if (phases.empty()) return {};
  std::string text =
      "<div class=\"table\"><table id=\"phases\"><thead><tr><th scope=\"col\">phase</th><th "
      "scope=\"col\" class=\"n\">seconds</th><th scope=\"col\" class=\"n\">bytes</th></tr></thead>"
      "<tbody>\n";
  for (const Phase& phase : phases) {
    text += "<tr><th scope=\"row\">" + escape(phase.name, 40) + "</th>" +
            number_cell(phase.seconds) +
            cell(escape(base::human_bytes(base::Bytes{phase.bytes})),
                 static_cast<double>(phase.bytes)) +
            "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

// Without the directories that all names begin with.
void shorten(std::vector<std::string>& names) {
  if (names.size() < 2) return;
  std::string_view common = names.front();
  for (const std::string& name : names) {
    const auto end = std::mismatch(common.begin(), common.end(), name.begin(), name.end()).first;
    common = common.substr(0, static_cast<std::size_t>(end - common.begin()));
  }
  const std::size_t slash = common.rfind('/');
  if (slash == std::string_view::npos) return;
  for (const std::string& name : names) {
    if (name.size() == slash + 1) return;
  }
  for (std::string& name : names) name.erase(0, slash + 1);
}

constexpr const char* kDefinitions =
    "<footer>\n<p>A <em>task vector</em> τ is a fine-tuned model minus the base. A parameter is in "
    "<em>conflict</em> if it has both positive and negative task values. <em>Kept</em> are the "
    "values "
    "that the trim leaves. The elected <em>sign</em> is that of the sum of the kept values; "
    "<em>cancelled</em> parameters had kept values that sum to zero, <em>untouched</em> ones none. "
    "Quantiles and shares of the norm by density come from counts in bins of a quarter octave. All "
    "numbers, with more digits and for every tensor, are in the JSON beside this page.</p>\n"
    "</footer>\n";

}  // namespace

std::string page(Document document) {
  shorten(document.report.tasks);
  const Report& report = document.report;
  const Groups groups = group(report);
  const bool compares = report.level == "compare";
  const std::string title =
      (compares ? "Task vectors against " : "Merge report: ") + escape(document.title, 200);
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      // Nothing may be loaded or run, whatever a name would smuggle in.
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>{}</style>\n"
      "</head>\n<body>\n<header>\n<h1>{}</h1>\n{}</header>\n<main>\n",
      title, style_sheet(), title, lead(document));
  text += tiles(document) + note(report);
  text += "<section>\n<h2>Tasks</h2>\n" + task_table(document) +
          details("The job", job_text(document.job)) +
          details(fmt::format("Input files ({})", document.inputs.size()),
                  input_list(document.inputs)) +
          details("Time and bytes of each phase", phase_table(document.phases)) + "</section>\n";
  text += section("Where tasks contradict each other", conflict_figures(report, groups));
  text += section(report.trimmed ? "What the trim keeps" : "How few values carry a task",
                  trim_figures(report, groups));
  text += section("How alike the tasks are", similarity_figures(report, groups));
  text += section("Magnitudes", magnitude_figures(report, groups));
  text += "<section>\n<h2>Numbers</h2>\n" + kind_table(groups) +
          details(fmt::format("Layer by layer ({})", groups.layers.size()), layer_table(groups)) +
          details(fmt::format("Tensor by tensor ({})", report.each.size()), tensor_table(report)) +
          "</section>\n";
  return text + "</main>\n" + kDefinitions + "</body>\n</html>\n";
}

}  // namespace mpimerge::report
