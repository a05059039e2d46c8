#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "mpimerge/base/file_descriptor.hpp"
#include "mpimerge/base/words.hpp"
#include "mpimerge/comm/comm.hpp"
#include "mpimerge/plan/pass_state.hpp"

namespace mpimerge::output {

/// What a look at the inputs that is under way has found so far, in a file beside the first output:
/// what all ranks know, and a part of each rank. src/output/README.md has its bytes.
struct PassHead {
  std::uint64_t merge = 0;  ///< checksum of the program's version, the job and the inputs
  plan::PassState state;
  struct Part {
    std::uint64_t words = 0;
    std::uint64_t checksum = 0;  ///< XXH3, 64 bits
    bool operator==(const Part&) const = default;
  };
  std::vector<Part> parts;

  bool operator==(const PassHead&) const = default;
};

/// Local. The bytes of a head.
std::vector<std::byte> encode(const PassHead& head);

/// Local. Reads what `encode` made, at the beginning of a file.
/// @return nothing: damaged, or of another version. No allocation is sized by an unchecked number.
std::optional<PassHead> decode_pass_head(std::span<const std::byte> bytes);

/// Local. How long the file is.
/// @return nothing: beyond 64 bits
std::optional<std::uint64_t> pass_file_bytes(const PassHead& head);

/// Collective over `comm`. Writes the file so that this one or the one before stands at every moment.
/// @param state  as merge::Merge::pass_state gives it; `looked_at` of this rank
/// @param own    puts this rank's part; called twice, to the same words
/// Cost: the part's words twice from memory, once to the file; 1 MiB of memory.
/// Errors: AgreedError{output}, {resources}.
void write_pass(const comm::Comm& comm, const std::filesystem::path& file, std::uint64_t merge,
                const plan::PassState& state,
                const std::function<void(const base::PutWords&)>& own);

/// Local. Whether a file, damaged or not, of this version or not, is what `write_pass` makes.
bool is_pass_file(const std::filesystem::path& file);

/// Local. What is left of the file, whole or half written.
/// Errors: Error{output}.
void remove_pass_file(const std::filesystem::path& file);

/// Local. The head of a file.
/// @return nothing: there is none, it is damaged, or the file has another length
std::optional<PassHead> read_pass_head(const std::filesystem::path& file);

/// The part of one rank, word by word.
class PassPart {
 public:
  /// Local.
  /// Errors: Error{output}: the file cannot be read.
  PassPart(const std::filesystem::path& file, const PassHead& head, std::size_t part);

  /// Local. Whether its bytes are what was written. From the first word on.
  [[nodiscard]] bool is_whole();
  /// Local. The next word.
  /// Errors: Error{output}: there are no more; the file cannot be read.
  std::uint64_t word();

 private:
  void fill();

  std::filesystem::path path_;
  base::FileDescriptor file_;
  std::uint64_t begin_ = 0;  // in the file
  PassHead::Part part_;
  std::uint64_t read_ = 0;  // words in the buffer, and before it
  std::vector<std::uint64_t> buffer_;
  std::size_t next_ = 0;  // in the buffer
};

}  // namespace mpimerge::output
