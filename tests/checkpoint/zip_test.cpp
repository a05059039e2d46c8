#include <array>
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/make_file.hpp"
#include "checkpoint/make_zip.hpp"
#include "checkpoint/zip_directory.hpp"

namespace mpimerge::checkpoint {
namespace {

using test::input_error;
using test::make_zip;
using test::Zip;
using test::ZipContent;
using test::ZipStyle;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

const std::vector<ZipContent> kContents = {{"r/a", "first"}, {"r/b", ""}, {"r/c", "third, longer"}};

std::string error_of(const Zip& zip) {
  std::string text = input_error([&] { parse_zip_directory(zip.bytes.source()); });
  EXPECT_THAT(text, StartsWith("m.pt: "));
  return text;
}

void expect_reads(const Zip& zip, const std::vector<ZipContent>& contents) {
  const auto entries = parse_zip_directory(zip.bytes.source());
  ASSERT_EQ(entries.size(), contents.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(entries[i].name, contents[i].name);
    EXPECT_EQ(entries[i].data.begin.value(), zip.data[i]);
    EXPECT_EQ(entries[i].data.count().value(), contents[i].data.size() + contents[i].hole);
  }
}

TEST(ZipDirectory, ReadsWhatTorchAndOthersWrite) {
  constexpr std::array<std::uint16_t, 4> kFlags{0x0808, 0x0800, 0x0008, 0x0000};
  for (const bool zip64 : {true, false}) {
    for (const std::uint16_t flags : kFlags) {
      for (const std::uint32_t size_before : {0x0U, 0xffffffffU}) {
        for (const std::uint64_t alignment : {64U, 1U}) {
          SCOPED_TRACE(testing::Message() << zip64 << flags << size_before << alignment);
          expect_reads(make_zip(kContents, {zip64, flags, size_before, alignment}), kContents);
        }
      }
    }
  }
}

TEST(ZipDirectory, ReadsOneWithoutEntries) {
  EXPECT_THAT(parse_zip_directory(make_zip({}).bytes.source()), IsEmpty());
}

TEST(ZipDirectory, ReadsBeyondFourGibibytes) {
  const std::vector<ZipContent> contents = {{"r/small", "x"},
                                            {"r/5G", "y", 5'000'000'000},
                                            {"r/10G", "z", 10'000'000'000},
                                            {"r/end", "!"}};
  for (const std::uint32_t size_before : {0x0U, 0xffffffffU}) {
    expect_reads(make_zip(contents, {.size_before = size_before}), contents);
  }
}

TEST(ZipDirectory, ReadsTheEntriesInTheOrderOfTheirData) {
  Zip zip = make_zip({{"r/a", "1"}, {"r/b", "2"}});
  const auto a = zip.bytes.read(zip.entries[0], zip.entries[1] - zip.entries[0]);
  const auto b = zip.bytes.read(zip.entries[1], zip.end64 - zip.entries[1]);
  zip.bytes.replace(zip.directory, b + a);

  expect_reads(zip, {{"r/a", "1"}, {"r/b", "2"}});
}

TEST(ZipDirectory, PassesOverOtherExtraFieldsAndComments) {
  const std::vector<ZipContent> contents = {{"r/5G", "", 5'000'000'000}, {"r/end", "!"}};
  const std::string field("UT\3\0abc", 7);
  for (const auto* comment : {"", "a comment"}) {
    expect_reads(make_zip(kContents, {.other_field = field, .comment = comment}), kContents);
    expect_reads(make_zip(contents, {.other_field = field, .comment = comment}), contents);
  }
}

// A patch of a number at a place of the file, counted from one of its parts.
template <class Number>
std::function<void(Zip&)> put(std::uint64_t Zip::*part, std::uint64_t at, Number value) {
  return [=](Zip& zip) { zip.bytes.patch(zip.*part + at, value); };
}

struct Refused {
  std::string_view what;
  std::string_view says;
  std::function<void(Zip&)> spoil;
};

void expect_refused(const std::vector<Refused>& cases) {
  for (const auto& [what, says, spoil] : cases) {
    SCOPED_TRACE(what);
    Zip zip = make_zip(kContents);
    spoil(zip);
    EXPECT_THAT(error_of(zip), HasSubstr(says));
  }
}

constexpr std::uint64_t kMost = ~std::uint64_t{0};

TEST(ZipDirectory, RefusesAnEndThatLies) {
  const auto both_ends = [](std::uint64_t wide_at, std::uint64_t wide, std::uint64_t narrow_at,
                            std::uint32_t narrow) {
    return [=](Zip& zip) {
      zip.bytes.patch(zip.end64 + wide_at, wide);
      zip.bytes.patch(zip.end + narrow_at, narrow);
    };
  };
  const auto entries = [](std::uint64_t wide, std::uint16_t narrow) {
    return [=](Zip& zip) {
      for (const std::uint64_t at : {24U, 32U}) zip.bytes.patch(zip.end64 + at, wide);
      for (const std::uint64_t at : {8U, 10U}) zip.bytes.patch(zip.end + at, narrow);
    };
  };
  const auto u16 = [](std::uint64_t at, std::uint16_t value) { return put(&Zip::end, at, value); };
  const auto u32 = [](std::uint64_t at, std::uint32_t value) { return put(&Zip::end, at, value); };
  expect_refused({
      {"signature", "does not end with a zip directory", u32(0, 0x06054b51)},
      {"a byte more", "does not end with a zip directory", [](Zip& zip) { zip.bytes.append("x"); }},
      {"comment", "without a comment", u16(20, 1)},
      {"disk", "disagree", u16(4, 1)},
      {"disk of the directory", "disagree", u16(6, 1)},
      {"entries on the disk", "disagree", u16(8, 2)},
      {"entries", "disagree", u16(10, 2)},
      {"bytes", "disagree", u32(12, 1)},
      {"begin", "disagree", u32(16, 0)},
      {"locator's disk", "zip64 locator leads to", put<std::uint32_t>(&Zip::locator, 4, 1)},
      {"locator leads to 0", "zip64 locator leads to byte 0", put(&Zip::locator, 8, 0UL)},
      {"locator leads far", "leads to byte 18446744073709551615", put(&Zip::locator, 8, kMost)},
      {"locator's disks", "zip64 locator leads to", put<std::uint32_t>(&Zip::locator, 16, 2)},
      {"wide signature", "disagree", put<std::uint32_t>(&Zip::end64, 0, 0)},
      {"wide length", "disagree", put(&Zip::end64, 4, 45UL)},
      {"wide disk", "disagree", put<std::uint32_t>(&Zip::end64, 16, 1)},
      {"wide entries", "disagree", put(&Zip::end64, 32, 0x100000003UL)},
      {"both: fewer entries", "holds 3 entries, but its end says 2", entries(2, 2)},
      {"both: many entries", "holds 3 entries, but its end says 18446744073709551615",
       entries(kMost, 0xffff)},
      {"both: a byte less", "should be", both_ends(40, 1, 12, 1)},
      {"both: bytes overflow", "should be 18446744073709551615 bytes",
       both_ends(40, kMost, 12, 0xffffffff)},
      {"both: begin overflows", "at byte 18446744073709551615",
       both_ends(48, kMost, 16, 0xffffffff)},
      {"both: begin at 0", "at byte 0 ", both_ends(48, 0, 16, 0)},
  });
}

TEST(ZipDirectory, RefusesAPlainEndThatLies) {
  const auto error_with = [](std::uint64_t at, auto value) {
    Zip zip = make_zip(kContents, {.zip64 = false});
    zip.bytes.patch(zip.end + at, value);
    return error_of(zip);
  };
  EXPECT_THAT(error_with(4, std::uint16_t{1}), HasSubstr("on one disk"));
  EXPECT_THAT(error_with(6, std::uint16_t{1}), HasSubstr("on one disk"));
  EXPECT_THAT(error_with(8, std::uint16_t{2}), HasSubstr("should be"));
  EXPECT_THAT(error_with(12, std::uint32_t{0xffffffff}), HasSubstr("should be 4294967295 bytes"));
  EXPECT_THAT(error_with(16, std::uint32_t{0xffffffff}), HasSubstr("at byte 4294967295"));
}

TEST(ZipDirectory, RefusesALargeOneUnread) {
  Zip zip = make_zip({{"r/a", "", kMaxHeaderBytes}});
  const std::uint64_t begin = zip.end64 - kMaxHeaderBytes - 1;
  zip.bytes.patch(zip.end64 + 40, kMaxHeaderBytes + 1);
  zip.bytes.patch(zip.end64 + 48, begin);
  zip.bytes.patch(zip.end + 12, static_cast<std::uint32_t>(kMaxHeaderBytes + 1));
  zip.bytes.patch(zip.end + 16, static_cast<std::uint32_t>(begin));

  EXPECT_THAT(error_of(zip), HasSubstr("100000001 bytes long, expected at most 100000000"));
}

TEST(ZipDirectory, RefusesEntriesThatLie) {
  const auto u16 = [](std::uint64_t at, std::uint16_t value) {
    return put(&Zip::directory, at, value);
  };
  const auto u32 = [](std::uint64_t at, std::uint32_t value) {
    return put(&Zip::directory, at, value);
  };
  const auto size = [](std::uint32_t value) {
    return [=](Zip& zip) {
      for (const std::uint64_t at : {20U, 24U}) zip.bytes.patch(zip.directory + at, value);
    };
  };
  expect_refused({
      {"signature", "no entry at its byte 0", u32(0, 0)},
      {"encrypted", "entry `r/a` of the zip file is encrypted", u16(8, 0x0809)},
      {"patched", "unknown kind (flags 0x828)", u16(8, 0x0828)},
      {"hidden", "unknown kind (flags 0x2808)", u16(8, 0x2808)},
      {"compressed", "entry `r/a` of the zip file is compressed", u16(10, 8)},
      {"other size when packed", "is compressed", u32(20, 4)},
      {"on another disk", "on disk 1", u16(34, 1)},
      {"name beyond the directory", "its zip directory ends too early", u16(28, 0xffff)},
      {"extra field beyond it", "its zip directory ends too early", u16(30, 0xffff)},
      {"comment beyond it", "its zip directory ends too early", u16(32, 0xffff)},
      {"size up to the next entry", "entries `r/a` and `r/b` of the zip file overlap", size(100)},
      {"size up to the directory", "overlap",
       [&](Zip& zip) { size(static_cast<std::uint32_t>(zip.directory - zip.data[0]))(zip); }},
      {"size into the directory", "does not lie before the directory",
       [&](Zip& zip) { size(static_cast<std::uint32_t>(zip.directory - zip.data[0] + 1))(zip); }},
      {"large size", "4294967294 bytes", size(0xfffffffe)},
      {"size elsewhere, but nowhere", "the extra field of a zip entry ends too early",
       size(0xffffffff)},
      {"header at another place", "the header at byte 1 says something else", u32(42, 1)},
      {"header of another entry", "says something else",
       [](Zip& zip) {
         zip.bytes.patch(zip.directory + 42, static_cast<std::uint32_t>(zip.headers[1]));
       }},
      {"header in the directory", "does not lie before the directory",
       [](Zip& zip) {
         zip.bytes.patch(zip.directory + 42, static_cast<std::uint32_t>(zip.directory - 32));
       }},
      {"header far behind", "the header at byte 4294967294, does not", u32(42, 0xfffffffe)},
  });
}

TEST(ZipDirectory, RefusesHeadersThatSaySomethingElse) {
  const auto at_header = [](std::uint64_t at, auto value) {
    return [=](Zip& zip) { zip.bytes.patch(zip.headers[1] + at, value); };
  };
  constexpr std::string_view kSays = "entry `r/b` of the zip file: the header at byte 85 says";
  expect_refused({
      {"signature", kSays, at_header(0, std::uint32_t{0x02014b50})},
      {"flags", kSays, at_header(6, std::uint16_t{0x0000})},
      {"compressed", kSays, at_header(8, std::uint16_t{8})},
      {"packed size", kSays, at_header(18, std::uint32_t{1})},
      {"size", kSays, at_header(22, std::uint32_t{1})},
      {"shorter name", kSays, at_header(26, std::uint16_t{2})},
      {"longer name", kSays, at_header(26, std::uint16_t{4})},
      {"other name", kSays, at_header(32, std::uint8_t{'c'})},
      {"extra field beyond the directory", "does not lie before",
       at_header(28, std::uint16_t{500})},
      {"extra field beyond the next entry", "overlap", at_header(28, std::uint16_t{100})},
  });
}

TEST(ZipDirectory, RefusesASizeOfNothingWithoutOneBehindTheData) {
  Zip zip = make_zip(kContents, {.flags = 0x0800});
  zip.bytes.patch<std::uint32_t>(zip.headers[0] + 22, 0);
  EXPECT_THAT(error_of(zip), HasSubstr("says something else"));
}

TEST(ZipDirectory, RefusesWideSizesThatLie) {
  const std::vector<ZipContent> contents = {{"r/5G", "", 5'000'000'000}, {"r/end", "!"}};
  constexpr std::uint64_t kWide = 46 + 4 + 4;  // the zip64 record's content in the first entry
  for (const std::uint64_t wrong : {std::uint64_t{6'000'000'000}, std::uint64_t{1} << 63, kMost}) {
    Zip zip = make_zip(contents);
    for (const std::uint64_t at : {0U, 8U}) zip.bytes.patch(zip.directory + kWide + at, wrong);
    EXPECT_THAT(error_of(zip), HasSubstr("does not lie before the directory")) << wrong;
  }
  Zip zip = make_zip(contents);
  zip.bytes.patch<std::uint16_t>(zip.directory + kWide - 2, 8);
  EXPECT_THAT(error_of(zip), HasSubstr("a zip64 record ends too early"));
  zip = make_zip(contents);
  zip.bytes.patch<std::uint64_t>(zip.directory + kWide, 5'000'000'001);
  EXPECT_THAT(error_of(zip), HasSubstr("is compressed"));
}

TEST(ZipDirectory, RefusesAnEntryInsideAnother) {
  const Zip inner = make_zip({{"r/b", "x"}});
  Zip zip = make_zip({{"r/a", inner.bytes.read(0, inner.directory)}, {"r/b", "x"}});
  expect_reads(zip, {{"r/a", std::string(inner.directory, '?')}, {"r/b", "x"}});

  zip.bytes.patch(zip.entries[1] + 42, static_cast<std::uint32_t>(zip.data[0]));

  EXPECT_THAT(error_of(zip), HasSubstr("entries `r/a` and `r/b` of the zip file overlap"));
}

TEST(ZipDirectory, RefusesANameThatStandsThereTwice) {
  EXPECT_THAT(error_of(make_zip({{"r/a", "1"}, {"r/b", "2"}, {"r/a", "3"}})),
              HasSubstr("entry `r/a` of the zip file stands there twice"));
}

TEST(ZipDirectory, RefusesAFileThatEndsAnywhereBefore) {
  for (const bool zip64 : {true, false}) {
    const Zip whole = make_zip(kContents, {.zip64 = zip64});
    for (std::uint64_t size = 0; size < whole.bytes.size(); ++size) {
      SCOPED_TRACE(size);
      Zip zip = whole;
      zip.bytes.truncate(size);
      EXPECT_THAT(error_of(zip), HasSubstr("does not end with a zip directory"));
    }
  }
}

TEST(ZipDirectory, StaysInsideTheFileWhateverByteIsDamaged) {
  for (const bool zip64 : {true, false}) {
    const Zip whole = make_zip(kContents, {.zip64 = zip64});
    for (std::uint64_t at = 0; at < whole.bytes.size(); ++at) {
      for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
        SCOPED_TRACE(testing::Message() << "byte " << at << " is " << value);
        Zip zip = whole;
        zip.bytes.patch(at, static_cast<std::uint8_t>(value));
        try {
          std::uint64_t last = 0;
          for (const ZipEntry& entry : parse_zip_directory(zip.bytes.source())) {
            EXPECT_LE(last, entry.data.begin.value());
            EXPECT_LE(entry.data.begin, entry.data.end);
            last = entry.data.end.value();
          }
          EXPECT_LE(last, zip.directory);
        } catch (const base::Error& error) {
          EXPECT_EQ(error.kind(), base::ErrorKind::input);
        }
      }
    }
  }
}

}  // namespace
}  // namespace mpimerge::checkpoint
