# Two kinds of test, each with a time limit: a hang is a failure.

# The tests' own code is compiled with little optimisation; the libraries that it tests keep theirs. Measured with four of the
# larger sources: 13.3 s in all with -O3, 8.8 with -O1; sanitized 22.9 with -O1, 12.4 with -O0.
set(MPIMERGE_TEST_OPTIONS $<$<CONFIG:Release>:-O1>)
if(MPIMERGE_SANITIZE)
  set(MPIMERGE_TEST_OPTIONS -O0)
endif()

# mpimerge_test(NAME SOURCES a.cpp ... ROOMS base ... [TIMEOUT 60]): local code, one process.
function(mpimerge_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "SOURCES;ROOMS" ${ARGN})
  add_executable(test_${name} ${TEST_SOURCES})
  target_compile_options(test_${name} PRIVATE ${MPIMERGE_TEST_OPTIONS})
  list(TRANSFORM TEST_ROOMS PREPEND mpimerge_)
  target_include_directories(test_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(test_${name} PRIVATE ${TEST_ROOMS} mpimerge_warnings GTest::gtest GTest::gtest_main GTest::gmock)
  add_test(NAME ${name} COMMAND test_${name})
  mpimerge_finish_test(${name} 1 "${TEST_TIMEOUT}")
endfunction()

# mpimerge_mpi_test(NAME SOURCES a.cpp ... ROOMS comm ... [NP 1 2 3] [TIMEOUT 60]): makes NAME.np1, NAME.np2, ...
function(mpimerge_mpi_test name)
  cmake_parse_arguments(TEST "" "TIMEOUT" "SOURCES;ROOMS;NP" ${ARGN})
  if(NOT TEST_NP)
    set(TEST_NP ${MPIMERGE_TEST_RANKS})
  endif()
  add_executable(test_${name} ${TEST_SOURCES})
  target_compile_options(test_${name} PRIVATE ${MPIMERGE_TEST_OPTIONS})
  list(TRANSFORM TEST_ROOMS PREPEND mpimerge_)
  target_link_libraries(test_${name} PRIVATE ${TEST_ROOMS} mpimerge_warnings mpimerge_test_support)
  foreach(ranks IN LISTS TEST_NP)
    set(command ${MPIEXEC_EXECUTABLE} -q --oversubscribe -n ${ranks} $<TARGET_FILE:test_${name}>)
    if(MPIMERGE_SANITIZE AND ranks EQUAL 1)
      set(command ${PROJECT_SOURCE_DIR}/tests/support/check_leaks.sh ${command})
    endif()
    add_test(NAME ${name}.np${ranks} COMMAND ${command})
    mpimerge_finish_test(${name}.np${ranks} ${ranks} "${TEST_TIMEOUT}")
    set_property(TEST ${name}.np${ranks} APPEND PROPERTY LABELS np${ranks})
  endforeach()
endfunction()

# A start of Open MPI without what no test here needs. Measured with Debian's 4.1.4 in a virtual machine, `mpimerge --help` at
# 3 ranks: 415 ms and 186 ms of processor time become 114 and 98, without a launcher 348 and 108 become 84 and 43.
# - pml=ob1: else the libraries of two networks (PSM, PSM2) are loaded, each of which calibrates a timer for 0.1 s.
# - HWLOC_COMPONENTS: else every process reads every PCI device's registers, slow in a virtual machine, and loads OpenCL and X11.
# - gds=hash: what ranks know of each other goes by messages, without files that all of them map.
set(MPIMERGE_QUICK_START "OMPI_MCA_pml=ob1" "HWLOC_COMPONENTS=-linuxio,-pci,-opencl,-gl" "PMIX_MCA_gds=hash")

# mpimerge_slow_start(TEST...): these start as users do, with all that Open MPI chooses by itself.
function(mpimerge_slow_start)
  foreach(test IN LISTS ARGN)
    get_property(environment TEST ${test} PROPERTY ENVIRONMENT)
    list(REMOVE_ITEM environment ${MPIMERGE_QUICK_START})
    set_property(TEST ${test} PROPERTY ENVIRONMENT "${environment}")
  endforeach()
endfunction()

# What every test gets: a time limit, its number of processes, and an environment in which Open MPI runs in a container,
# as root, with more ranks than cores, without pinning all tests to the same core.
function(mpimerge_finish_test name processes timeout)
  if(NOT timeout)
    set(timeout 60)
  endif()
  if(MPIMERGE_SANITIZE)
    math(EXPR timeout "${timeout} * 4")
  endif()
  # LeakSanitizer itself crashes now and then in programs with Open MPI's threads (support/check_leaks.sh). One rank runs
  # the same code as several, so leaks are looked for there; of the whole program by end_to_end/leaks.py.
  set(leaks 1)
  if(processes GREATER 1)
    set(leaks 0)
  endif()
  # Jobs that begin and end at once would remove the directory that they share (/tmp/ompi.HOST.USER) under each other.
  set(sessions ${PROJECT_BINARY_DIR}/sessions/${name})
  # ctest runs at most as many processes at once as the machine has cores; a test of more still runs, alone.
  set_tests_properties(${name} PROPERTIES TIMEOUT ${timeout} PROCESSORS ${processes})
  set_property(TEST ${name} PROPERTY ENVIRONMENT
    "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_rmaps_base_oversubscribe=1"
    "OMPI_MCA_hwloc_base_binding_policy=none;OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_orte_tmpdir_base=${sessions}"
    "${MPIMERGE_QUICK_START}"
    "LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/lsan.supp:print_suppressions=0"
    "ASAN_OPTIONS=detect_leaks=${leaks}:abort_on_error=0:exitcode=99;UBSAN_OPTIONS=print_stacktrace=1")
endfunction()
