#include "mpimerge/base/file_descriptor.hpp"

#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "mpimerge/base/error.hpp"

#include "support/temp_dir.hpp"

namespace mpimerge::base {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class FileDescriptorTest : public testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
    return directory_ / name;
  }

  test::TempDir directory_;
};

template <class Function>
std::string input_error_of(Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "no error";
}

std::string text(const std::array<std::byte, 4>& bytes) {
  std::string letters;
  for (const std::byte each : bytes) letters += static_cast<char>(each);
  return letters;
}

TEST_F(FileDescriptorTest, ReadsBytesFromThePlaceThatIsAsked) {
  const auto path = write("numbers", "0123456789");
  std::array<std::byte, 4> bytes{};

  const FileDescriptor file = open_for_reading(path);
  read_exactly(file, path, Bytes{3}, bytes);

  EXPECT_EQ(file_size(file, path), Bytes{10});
  EXPECT_EQ(text(bytes), "3456");
}

TEST_F(FileDescriptorTest, ReadsNothingAtTheEnd) {
  const auto path = write("numbers", "0123456789");

  const FileDescriptor file = open_for_reading(path);

  EXPECT_NO_THROW(read_exactly(file, path, Bytes{10}, {}));
}

TEST_F(FileDescriptorTest, NamesTheFileThatEndsTooEarly) {
  const auto path = write("numbers", "0123456789");
  std::array<std::byte, 4> bytes{};
  const FileDescriptor file = open_for_reading(path);

  const std::string error = input_error_of([&] { read_exactly(file, path, Bytes{8}, bytes); });

  EXPECT_THAT(error, AllOf(HasSubstr(path.string()), HasSubstr("ends at byte 10"),
                           HasSubstr("4 bytes at 8")));
}

TEST_F(FileDescriptorTest, NamesTheFileThatIsMissing) {
  const auto path = directory_ / "missing";

  const std::string error = input_error_of([&] { open_for_reading(path); });

  EXPECT_THAT(error, AllOf(HasSubstr(path.string()), HasSubstr("No such file")));
}

TEST_F(FileDescriptorTest, RefusesADirectory) {
  const std::string error = input_error_of([&] { open_for_reading(directory_.path()); });

  EXPECT_THAT(error, AllOf(HasSubstr(directory_.path().string()), HasSubstr("is a directory")));
}

TEST_F(FileDescriptorTest, RefusesAFifoWithoutWaitingForAWriter) {
  const auto path = directory_ / "fifo";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);

  const std::string error = input_error_of([&] { open_for_reading(path); });

  EXPECT_THAT(error, AllOf(HasSubstr(path.string()), HasSubstr("not a regular file")));
}

TEST_F(FileDescriptorTest, RefusesADevice) {
  EXPECT_THAT(input_error_of([] { open_for_reading("/dev/null"); }),
              HasSubstr("not a regular file"));
}

TEST_F(FileDescriptorTest, RefusesASocket) {
  const auto path = directory_ / "socket";
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.string().copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);

  const std::string error = input_error_of([&] { open_for_reading(path); });

  EXPECT_THAT(error, AllOf(HasSubstr(path.string()), HasSubstr("not a regular file")));
}

TEST_F(FileDescriptorTest, KeepsAStrangeNameOnOneLine) {
  EXPECT_THAT(input_error_of([&] { open_for_reading(directory_ / "two\nlines"); }),
              HasSubstr("two\\x0alines: No such file"));
}

TEST_F(FileDescriptorTest, FollowsALinkToAFile) {
  const auto path = write("numbers", "0123456789");
  std::filesystem::create_symlink(path, directory_ / "link");

  const FileDescriptor file = open_for_reading(directory_ / "link");

  EXPECT_EQ(file_size(file, path), Bytes{10});
}

}  // namespace
}  // namespace mpimerge::base
