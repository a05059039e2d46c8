#include "mpimerge/output/checksums.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include "mpimerge/base/error.hpp"
#include "mpimerge/output/model_files.hpp"

#include "output/read_back.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::output {
namespace {

using base::Bytes;
using base::Elements;
using std::filesystem::path;
using test::TempDir;
using testing::HasSubstr;

std::string read(const path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write(const path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
}

std::uint64_t hash(const std::string& bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

// 100 bytes, of which [10, 30) and [50, 51) are datasets.
std::vector<BlockChecksums> datasets_of(const std::string& bytes) {
  return {{"/parameters/F32", Bytes{10}, Bytes{20}, {hash(bytes.substr(10, 20))}},
          {"/parameters/U8", Bytes{50}, Bytes{1}, {hash(bytes.substr(50, 1))}},
          {"/parameters/I64", Bytes{60}, Bytes{0}, {}}};
}

std::string some_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  for (std::size_t i = 0; i < count; ++i) bytes[i] = static_cast<char>((i * i + 7 * i) % 251);
  return bytes;
}

std::string refusal(const path& file) {
  try {
    read_checksums(file);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    return error.what();
  }
  return {};
}

TEST(Checksums, ComeBackBehindTheFile) {
  const TempDir dir;
  const path file = dir.path() / "a.h5";
  const std::string bytes = some_bytes(100);
  write(file, bytes);

  append_checksums(file, datasets_of(bytes));

  EXPECT_EQ(read(file).substr(0, 100), bytes);
  const Checksums found = read_checksums(file);
  EXPECT_EQ(found.rest, hash(bytes.substr(0, 10) + bytes.substr(30, 20) + bytes.substr(51)));
  const auto expected = datasets_of(bytes);
  ASSERT_EQ(found.datasets.size(), 3);
  for (std::size_t number = 0; number < 3; ++number) {
    EXPECT_EQ(found.datasets[number].name, expected[number].name);
    EXPECT_EQ(found.datasets[number].offset, expected[number].offset);
    EXPECT_EQ(found.datasets[number].bytes, expected[number].bytes);
    EXPECT_EQ(found.datasets[number].blocks, expected[number].blocks);
  }
}

TEST(Checksums, ShowEveryFlippedBitOutsideTheDatasets) {
  const TempDir dir;
  const path file = dir.path() / "a.h5";
  write(file, some_bytes(100));
  append_checksums(file, datasets_of(some_bytes(100)));
  const std::string good = read(file);
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    const std::size_t byte = bit / 8;
    const bool in_dataset = (byte >= 10 && byte < 30) || byte == 50;
    std::string bad = good;
    bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit % 8));
    write(file, bad);
    EXPECT_EQ(refusal(file).empty(), in_dataset) << bit;
  }
}

TEST(Checksums, ShowThatTheFileWasCutOrGrew) {
  const TempDir dir;
  const path file = dir.path() / "a.h5";
  write(file, some_bytes(100));
  append_checksums(file, datasets_of(some_bytes(100)));
  const std::string good = read(file);
  for (std::size_t length = 0; length < good.size(); ++length) {
    write(file, good.substr(0, length));
    EXPECT_THAT(refusal(file), HasSubstr("no checksums stand at its end"));
  }
  write(file, good + good.substr(good.size() - 32));
  EXPECT_THAT(refusal(file), HasSubstr("length"));
}

TEST(Checksums, BelieveNoNumberThatIsTooLarge) {
  const TempDir dir;
  const path file = dir.path() / "a.h5";
  write(file, some_bytes(100));
  append_checksums(file, datasets_of(some_bytes(100)));
  // 16 MiB that claim to be all JSON: more than checksums of a file of no bytes can be.
  std::string bytes(std::size_t{16} << 20, ' ');
  std::string tail = read(file).substr(read(file).size() - 32);
  const std::uint64_t length = bytes.size();
  tail.replace(0, 8, 8, '\0');
  tail.replace(8, 8, reinterpret_cast<const char*>(&length), 8);
  write(file, bytes + tail);

  EXPECT_THAT(refusal(file), HasSubstr("longer than any"));
}

// Of directories.

std::string refusal_of_directory(const path& directory) {
  try {
    read_directory_checksums(directory);
  } catch (const base::Error& error) {
    EXPECT_EQ(error.kind(), base::ErrorKind::input);
    return error.what();
  }
  return {};
}

// Checksums as if they were mpimerge's own.
void forge(const path& directory, const std::string& json) {
  write(directory / kChecksumsFile, json + fmt::format("\n{:016x}\n", hash(json)));
}

TEST(DirectoryChecksums, ComeBackWithTheBlocksOfValues) {
  const TempDir dir;
  write(dir / "model.safetensors", some_bytes(100));
  write(dir / "config.json", "{}");
  const BlockChecksums values{"model.safetensors", Bytes{40}, Bytes{60}, {7}};
  write_directory_checksums(dir.path(), {values});
  write(dir / "came-later", "x");

  const auto found = read_directory_checksums(dir.path());

  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].name, values.name);
  EXPECT_EQ(found[0].offset, values.offset);
  EXPECT_EQ(found[0].bytes, values.bytes);
  EXPECT_EQ(found[0].blocks, values.blocks);
}

TEST(DirectoryChecksums, BelieveNothingThatCannotBe) {
  const TempDir dir;
  write(dir / "a", some_bytes(100));
  const auto of_file = [](const std::string& name, const char* numbers) {
    return fmt::format(R"({{"algorithm":"XXH3-64","block_bytes":4194304,"files":[{{"name":"{}",)"
                       R"({},"file_bytes":100,"rest":"0000000000000000"}}]}})",
                       name, numbers);
  };
  constexpr const char* kNoValues = R"("offset":0,"bytes":0,"blocks":"")";
  for (const std::string& json :
       {std::string(), std::string("{}"), std::string("[]"), of_file("../a", kNoValues),
        of_file("a", R"("offset":0,"bytes":18446744073709551615,"blocks":"")"),
        of_file("a", R"("offset":0,"bytes":-1,"blocks":"")"),
        of_file("a", R"("offset":0,"bytes":1,"blocks":"00")")}) {
    forge(dir.path(), json);
    EXPECT_THAT(refusal_of_directory(dir.path()), HasSubstr("the checksums themselves")) << json;
  }
  for (const char* numbers :
       {R"("offset":100,"bytes":1,"blocks":"0000000000000000")",
        R"("offset":18446744073709551615,"bytes":1,"blocks":"0000000000000000")"}) {
    forge(dir.path(), of_file("a", numbers));
    EXPECT_THAT(refusal_of_directory(dir.path()), HasSubstr("not those of this directory"));
  }
  forge(dir.path(), of_file("a", kNoValues));
  EXPECT_THAT(refusal_of_directory(dir.path()), HasSubstr("a: damaged: its content"));
  forge(dir.path(), of_file("nowhere", kNoValues));
  EXPECT_THAT(refusal_of_directory(dir.path()), HasSubstr("nowhere: No such file"));
}

// Reading back.

constexpr std::uint64_t kBlock = kChecksumBlock.value();

struct Written {
  TempDir dir;
  path file = dir.path() / "a.partial";
  std::string bytes = some_bytes(10 + 2 * kBlock + 100 + 8);
  // U8 from byte 10 on: two blocks and a part of a third; then one F64.
  std::vector<PlacedDataset> datasets{
      {"/parameters/U8", Bytes{1}, Bytes{10}, Bytes{2 * kBlock + 100}},
      {"/parameters/F64", Bytes{8}, Bytes{10 + 2 * kBlock + 100}, Bytes{8}}};

  Written() { write(file, bytes); }

  Slab slab(std::uint64_t dataset, std::uint64_t begin, std::uint64_t end) const {
    const PlacedDataset& place = datasets[dataset];
    const std::uint64_t size = place.element.value();
    return {dataset,
            {Elements{begin}, Elements{end}},
            hash(bytes.substr(place.offset.value() + begin * size, (end - begin) * size))};
  }

  std::uint64_t block(std::uint64_t dataset, std::uint64_t number) const {
    const PlacedDataset& place = datasets[dataset];
    const std::uint64_t begin = number * kBlock;
    const std::uint64_t end = std::min(begin + kBlock, place.bytes.value());
    return hash(bytes.substr(place.offset.value() + begin, end - begin));
  }
};

TEST(ReadBack, TakesTheChecksumOfEachBlockOnceWhateverTheSlabs) {
  const Written written;
  const std::uint64_t end = 2 * kBlock + 100;
  // Ranks that cut within blocks, at their edges, and give slabs in no order.
  const std::vector<std::vector<Slab>> ranks{
      {written.slab(0, 100, kBlock + 5), written.slab(0, 0, 100)},
      {written.slab(0, kBlock + 5, 2 * kBlock)},
      {written.slab(1, 0, 1), written.slab(0, 2 * kBlock, 2 * kBlock + 1),
       written.slab(0, end - 1, end)},
      {written.slab(0, 2 * kBlock + 1, end - 1)},
      {}};
  std::vector<int> times(4, 0);
  for (const auto& slabs : ranks) {
    for (const BlockChecksum& block : read_back(written.file, written.datasets, slabs, [] {})) {
      EXPECT_EQ(block.checksum, written.block(block.dataset, block.block));
      ++times[block.dataset == 1 ? 3 : block.block];
    }
  }
  EXPECT_EQ(times, (std::vector<int>{1, 1, 1, 1}));
}

TEST(ReadBack, ShowsASlabThatIsNotWhatWasWritten) {
  Written written;
  const std::vector<Slab> slabs{written.slab(0, 0, 50), written.slab(0, 50, 2 * kBlock)};
  written.bytes[10 + 60] = static_cast<char>(written.bytes[10 + 60] ^ 4);
  write(written.file, written.bytes);
  try {
    read_back(written.file, written.datasets, slabs, [] {});
    ADD_FAILURE() << "nothing was found";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("bytes 50 to 8388608 of /parameters/U8"));
  }
}

}  // namespace
}  // namespace mpimerge::output
