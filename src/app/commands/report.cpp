#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/base/text.hpp"
#include "mpimerge/comm/agree.hpp"
#include "mpimerge/comm/object.hpp"
#include "mpimerge/job/parse.hpp"
#include "mpimerge/output/hdf5_catalog.hpp"
#include "mpimerge/output/model_files.hpp"
#include "mpimerge/report/document.hpp"
#include "mpimerge/report/page.hpp"

#include "app/commands/commands.hpp"
#include "app/inputs.hpp"
#include "app/output_names.hpp"
#include "app/standard_streams.hpp"
#include "app/summary_file.hpp"
#include "app/text_file.hpp"

namespace mpimerge::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOption = "--output";

[[noreturn]] void refuse_input(const std::string& path, std::string_view what) {
  throw base::Error(base::ErrorKind::input,
                    fmt::format("{}: {}", base::printable_path(path), what));
}

bool is_job_name(const std::string& path) {
  return path.ends_with(".yaml") || path.ends_with(".yml");
}

fs::path numbers_of(const fs::path& page) { return fs::path(page).replace_extension(".json"); }

bool is_summary_name(const std::string& path) { return path.ends_with(".json"); }

// Whether the summary that is shown is the file where the page's numbers belong.
bool numbers_are_there(const ReportOptions& options) {
  std::error_code ignored;
  return fs::equivalent(options.path, numbers_of(options.page), ignored);
}

// Before any work, which may take hours.
void check_page(const ReportOptions& options) {
  const fs::path page = options.page;
  if (page.extension() != ".html") {
    throw base::Error(base::ErrorKind::usage,
                      fmt::format("{}: expected a name that ends in .html ({})",
                                  base::printable_path(page), kOption));
  }
  for (const fs::path& file : {page, numbers_of(page)}) {
    check_summary_file(file, kOption);
    std::error_code ignored;
    const bool kept = file != page && numbers_are_there(options);
    if (options.overwrite || kept || !fs::exists(file, ignored)) continue;
    throw base::Error(base::ErrorKind::output,
                      fmt::format("{}: exists; --overwrite replaces it, or give another name ({})",
                                  base::printable_path(file), kOption));
  }
}

// What an output of a merge says of it.
output::MergeRecord record_of(const std::string& path) {
  std::error_code failed;
  if (fs::is_directory(path, failed)) {
    const fs::path directory = path;
    if (!fs::exists(directory / output::kSummaryFile, failed)) {
      refuse_input(path, fmt::format("is not an output of mpimerge: there is no {} in it",
                                     output::kSummaryFile));
    }
    return {read_text_file(directory / output::kJobFile),
            read_text_file(directory / output::kSummaryFile)};
  }
  if (!fs::exists(path, failed)) refuse_input(path, "there is no such file or directory");
  if (is_summary_name(path)) return {{}, read_text_file(path)};
  if (!output::is_hdf5(path)) {
    refuse_input(path,
                 "is not an output of mpimerge; expected an .h5 file, a directory, a summary "
                 "(.json), or a job file (.yaml, .yml)");
  }
  open_checkpoint(path);  // proves that mpimerge wrote it, to its end
  return output::read_merge_record(path);
}

void write_page(const ReportOptions& options, const output::MergeRecord& record) {
  report::Document document = report::read_document(record.summary, options.path);
  if (document.title.empty()) document.title = title_of(options.path);
  document.job = record.job;
  const fs::path json = numbers_of(options.page);
  if (!is_job_name(options.path) && !numbers_are_there(options))
    write_summary_file(json, record.summary, kOption);
  write_summary_file(options.page, report::page(std::move(document)), kOption);
  print_account(fmt::format("written    {}\nwritten    {}\n", options.page, json.string()));
}

// Collective. Merges for the statistics alone; the summary goes where the page's numbers belong.
int report_job(const comm::Comm& comm, const ReportOptions& options, base::Verbosity verbosity) {
  MergeOptions merge = options.merge;
  merge.job = options.path;
  merge.summary = numbers_of(options.page).string();
  merge.overrides.insert(merge.overrides.end(), {"output=none", "report=full"});
  const int code = run_merge(comm, merge, verbosity);
  if (code != 0) return code;
  comm::collectively(comm, "report", [&] {
    if (!comm.is_root()) return;
    write_page(options, {job::parse_job_file(merge.job, merge.overrides).text,
                         read_text_file(merge.summary)});
  });
  return 0;
}

}  // namespace

int run_report(const comm::Comm& comm, const ReportOptions& options, base::Verbosity verbosity) {
  comm::collectively(comm, "report", [&] {
    if (!comm.is_root()) return;
    check_page(options);
    if (is_job_name(options.path)) return;
    write_page(options, record_of(options.path));
  });
  return is_job_name(options.path) ? report_job(comm, options, verbosity) : 0;
}

}  // namespace mpimerge::app
