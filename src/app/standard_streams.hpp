#pragma once

#include <string_view>

namespace mpimerge::app {

/// Local. First of all in a program: where stdin, stdout or stderr is closed, nothing is opened in
/// its place. Otherwise the next file, perhaps the output, would get its number, and all that is
/// said would be written into it.
void open_standard_streams();

/// Local. Writes to stdout what a command was asked for.
/// Errors: Error{output} if it cannot be written: stdout is closed, a full disk.
void print_result(std::string_view text);

/// Local. Writes to stdout what can be had elsewhere too: a warning if it cannot be written.
void print_account(std::string_view text);

}  // namespace mpimerge::app
