#include "mpimerge/output/journal.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using base::Elements;
using test::TempDir;
using testing::HasSubstr;

Journal journal_of_everything() {
  Journal journal;
  journal.program = "1.2.3";
  journal.job = "merge_method: ties\nname: größe\n";
  journal.inputs = {
      {"base/model.safetensors", Bytes{std::uint64_t{1} << 40}, -5, ~std::uint64_t{0}},
      {"task with a space", Bytes{0}, 1, 2}};
  journal.runs = {{"2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", 512, {"n1", "n2"}}, {}};
  journal.method = {1, 2, std::uint64_t{1} << 63};
  journal.slabs = {
      {0, {Elements{0}, Elements{7}}, 11},
      {3, {Elements{std::uint64_t{1} << 50}, Elements{(std::uint64_t{1} << 50) + 1}}, 12}};
  return journal;
}

std::string refusal(const std::vector<std::byte>& bytes) {
  try {
    decode_journal(bytes, "out.journal");
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::output);
    return error.what();
  }
  return "nothing";
}

// The head's checksum fits these bytes: damage that only the decoder can find.
std::vector<std::byte> with_right_checksum(std::vector<std::byte> bytes) {
  constexpr std::size_t kHead = 24;
  const std::uint64_t length = bytes.size() - kHead;
  const std::uint64_t checksum = XXH3_64bits(bytes.data() + kHead, length);
  std::memcpy(bytes.data() + 8, &length, sizeof(length));
  std::memcpy(bytes.data() + 16, &checksum, sizeof(checksum));
  return bytes;
}

TEST(Journal, ComesBackAsItWas) {
  EXPECT_EQ(decode_journal(encode(journal_of_everything()), "j"), journal_of_everything());
  EXPECT_EQ(decode_journal(encode({}), "j"), Journal{});
}

TEST(Journal, ShowsEveryFlippedBit) {
  const std::vector<std::byte> good = encode(journal_of_everything());
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::vector<std::byte> bytes = good;
    bytes[bit / 8] ^= std::byte{1} << bit % 8;
    EXPECT_THAT(refusal(bytes), HasSubstr("journal")) << bit;
  }
}

TEST(Journal, ShowsThatItWasCutShort) {
  const std::vector<std::byte> good = encode(journal_of_everything());
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_THAT(refusal({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)}),
                HasSubstr("out.journal"));
}

TEST(Journal, TakesNoMoreMemoryThanItsBytesWhateverTheyCount) {
  const std::vector<std::byte> good = encode(journal_of_everything());
  for (std::size_t at = 24; at + 8 <= good.size(); ++at) {
    std::vector<std::byte> bytes = good;
    const std::uint64_t huge = std::uint64_t{1} << 60;
    std::memcpy(bytes.data() + at, &huge, sizeof(huge));
    refusal(with_right_checksum(bytes));  // whatever it says: it returns
  }
  for (std::size_t length = 24; length < good.size(); ++length) {
    EXPECT_THAT(refusal(with_right_checksum(
                    {good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length)})),
                HasSubstr("damaged"));
  }
}

TEST(Journal, ReplacesTheOneBefore) {
  const TempDir dir;
  const auto file = dir.path() / "out.journal";
  std::ofstream(dir.path() / "out.journal.new") << "what a killed run left";
  write_journal(file, {});

  write_journal(file, journal_of_everything());

  EXPECT_EQ(read_journal(file), journal_of_everything());
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "out.journal.new"));
}

TEST(Journal, FollowsNoLinkThatLiesInItsWay) {
  const TempDir dir;
  const auto precious = dir.path() / "precious";
  std::ofstream(precious) << "old";
  std::filesystem::create_symlink("precious", dir.path() / "out.journal.new");
  std::filesystem::create_symlink("precious", dir.path() / "out.journal");

  write_journal(dir.path() / "out.journal", {});

  std::string content;
  std::ifstream(precious) >> content;
  EXPECT_EQ(content, "old");
  EXPECT_FALSE(std::filesystem::is_symlink(dir.path() / "out.journal"));
}

TEST(Journal, IsKnownByItsBeginning) {
  const TempDir dir;
  const auto file = dir.path() / "out.journal";
  write_journal(file, journal_of_everything());
  EXPECT_TRUE(is_journal(file));
  std::ofstream(file) << "mpimjnl9 of a later version";
  EXPECT_TRUE(is_journal(file));
  std::ofstream(file).flush();  // what a full disk leaves
  EXPECT_TRUE(is_journal(file));

  std::ofstream(file) << "precious";
  EXPECT_FALSE(is_journal(file));
  std::ofstream(file) << "x";
  EXPECT_FALSE(is_journal(file));
  EXPECT_FALSE(is_journal(dir.path()));
  EXPECT_FALSE(is_journal(dir.path() / "nothing"));
}

TEST(Journal, ThatIsAFifoIsNotWaitedFor) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir.path() / "out.journal").c_str(), 0600), 0);
  EXPECT_THROW(read_journal(dir.path() / "out.journal"), base::Error);
  EXPECT_FALSE(is_journal(dir.path() / "out.journal"));
}

}  // namespace
}  // namespace mpimerge::output
