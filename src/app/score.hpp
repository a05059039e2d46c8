#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mpimerge::app {

/// What a user's command said of an output.
struct Score {
  std::optional<double> value;
  std::string why_not;  ///< where there is none
};

/// Local, on one rank. Runs `command... output`, without a shell, and takes the last number that it
/// prints on stdout. Its stdin is empty, its stderr is this process's; it inherits no other file and
/// nothing of what a launcher of MPI programs tells its ranks, so that it may start one itself.
/// A signal that asks this process to stop is passed on; then there is no score.
/// @param waiting  called now and then while the command runs
/// Errors: none: whatever goes wrong is told in the Score.
Score score_of(const std::vector<std::string>& command, const std::string& output,
               const std::function<void()>& waiting);

/// Local. The last number in a text: "accuracy 0.91 of 400 images" gives 400, "nan" is none.
std::optional<double> last_number(const std::string& text);

/// Local. The point of the highest score, of equals the first; nothing if none has one.
std::optional<std::size_t> best_of(const std::vector<Score>& scores);

}  // namespace mpimerge::app
