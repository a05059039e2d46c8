#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mpimerge/checkpoint/safetensors.hpp"

#include "checkpoint/make_file.hpp"
#include "support/temp_dir.hpp"

namespace mpimerge::checkpoint {
namespace {

namespace fs = std::filesystem;

using base::Bytes;
using test::input_error;
using test::safetensors;
using test::TempDir;
using test::write_file;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kHeader = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

class SafetensorsFile : public testing::Test {
 protected:
  std::string error() {
    std::string text = input_error([&] { read_safetensors_header(file_); });
    EXPECT_THAT(text, StartsWith(file_.string() + ": "));
    return text;
  }

  std::string error_of(std::string_view bytes) {
    write_file(file_, bytes);
    return error();
  }

  TempDir directory_;
  fs::path file_ = directory_ / "model.safetensors";
};

TEST_F(SafetensorsFile, GivesOffsetsFromItsFirstByte) {
  write_file(file_, safetensors(kHeader, "12345678"));

  const auto header = read_safetensors_header(file_);

  ASSERT_EQ(header.tensors.size(), 1U);
  EXPECT_EQ(header.tensors[0].offset, Bytes{8 + kHeader.size()});
  EXPECT_EQ(header.tensors[0].bytes, Bytes{8});
}

TEST_F(SafetensorsFile, RefusesOneWithoutALength) {
  EXPECT_THAT(error_of(""), HasSubstr("0 bytes are too few"));
  EXPECT_THAT(error_of("1234567"), AllOf(HasSubstr("7 bytes are too few"), HasSubstr("again")));
}

TEST_F(SafetensorsFile, RefusesAHeaderOfLengthZero) {
  EXPECT_THAT(error_of(safetensors("", "")), HasSubstr("header length is 0"));
}

TEST_F(SafetensorsFile, RefusesAHeaderBeyondItsEnd) {
  EXPECT_THAT(
      error_of(safetensors(kHeader.size() + 1, kHeader, "")),
      AllOf(HasSubstr("header length is 55 bytes, but only 54 follow"), HasSubstr("again")));
  EXPECT_THAT(error_of(safetensors(1, "", "")), HasSubstr("is 1 bytes, but only 0 follow"));
}

TEST_F(SafetensorsFile, RefusesAHeaderAboveTheLimit) {
  EXPECT_THAT(
      error_of(safetensors(~std::uint64_t{0}, kHeader, "")),
      AllOf(HasSubstr("header length is 18446744073709551615 bytes, expected at most 100000000"),
            HasSubstr("is it a safetensors file?")));

  write_file(file_, safetensors(kMaxHeaderBytes + 1, kHeader, ""));
  fs::resize_file(file_, kMaxHeaderBytes + 100);
  EXPECT_THAT(error(), HasSubstr("header length is 100000001 bytes, expected at most 100000000"));
}

TEST_F(SafetensorsFile, ReadsAHeaderAtTheLimit) {
  std::string header(kHeader);
  header.resize(kMaxHeaderBytes, ' ');
  write_file(file_, safetensors(header, "12345678"));

  EXPECT_EQ(read_safetensors_header(file_).tensors.size(), 1U);
}

TEST_F(SafetensorsFile, TellsHowManyBytesOfATruncatedOneAreMissing) {
  EXPECT_THAT(
      error_of(safetensors(kHeader, "123")),
      AllOf(HasSubstr("shorter than its header says: expected 70 bytes, found 65, 5 are missing"),
            HasSubstr("Truncated? Download or copy it again")));
}

TEST_F(SafetensorsFile, TellsHowManyBytesAreTooMany) {
  EXPECT_THAT(error_of(safetensors(kHeader, "123456789")),
              HasSubstr("longer than its header says: expected 70 bytes, found 71, 1 too many"));
}

TEST_F(SafetensorsFile, KnowsAGitLfsPointer) {
  EXPECT_THAT(error_of("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
              AllOf(HasSubstr("Git LFS pointer"), HasSubstr("git lfs pull")));
}

TEST_F(SafetensorsFile, RefusesAPickle) {
  EXPECT_THAT(error_of("PK\x03\x04zip of pickles"), HasSubstr("is it a safetensors file?"));
}

TEST_F(SafetensorsFile, RefusesWhatIsNotARegularFile) {
  EXPECT_THAT(error(), HasSubstr("No such file"));

  fs::create_directory(file_);
  EXPECT_THAT(error(), HasSubstr("is a directory"));

  fs::remove(file_);
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  EXPECT_THAT(error(), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace mpimerge::checkpoint
