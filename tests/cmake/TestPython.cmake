# The tests that run the program are Python scripts; the first interpreter that has numpy and h5py is taken.
set(MPIMERGE_TEST_PYTHON "" CACHE FILEPATH "Python 3 with numpy and h5py, for the tests")

function(mpimerge_find_test_python)
  if(MPIMERGE_TEST_PYTHON)
    return()
  endif()
  find_program(path_python NAMES python3 NO_CACHE)
  foreach(candidate IN ITEMS ${path_python} /usr/bin/python3)
    execute_process(COMMAND ${candidate} -c "import numpy, h5py" RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
    if(status EQUAL 0)
      set(MPIMERGE_TEST_PYTHON ${candidate} CACHE FILEPATH "Python 3 with numpy and h5py, for the tests" FORCE)
      return()
    endif()
  endforeach()
  message(FATAL_ERROR "The tests need a Python 3 with numpy and h5py and found none. Remedy: `apt-get install "
                      "python3-numpy python3-h5py`, set MPIMERGE_TEST_PYTHON, or set MPIMERGE_BUILD_TESTS to OFF.")
endfunction()
mpimerge_find_test_python()

# A script runs the program hundreds of times: one crash of LeakSanitizer's would be met too often. It comes last in a
# test's environment, so it counts.
set(MPIMERGE_SANITIZERS_WITHOUT_LEAKS "ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99")

# mpimerge_python_test(NAME SCRIPT file.py [NP 1 2 3] [TIMEOUT 60] [PROGRAM target] [ARGS ...]): runs the program by a
# script, which gets the paths of mpirun and of the program. With NP it makes NAME.np1, NAME.np2, ...; else one test NAME.
function(mpimerge_python_test name)
  cmake_parse_arguments(TEST "" "SCRIPT;TIMEOUT;PROCESSES;PROGRAM" "NP;ARGS" ${ARGN})
  set(limit 30)
  if(MPIMERGE_SANITIZE)
    set(limit 120)
  endif()
  if(NOT TEST_PROGRAM)
    set(TEST_PROGRAM mpimerge)
  endif()
  set(command ${MPIMERGE_TEST_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/${TEST_SCRIPT} --mpirun ${MPIEXEC_EXECUTABLE}
              --program $<TARGET_FILE:${TEST_PROGRAM}> --limit ${limit})
  foreach(ranks IN LISTS TEST_NP)
    add_test(NAME ${name}.np${ranks} COMMAND ${command} --ranks ${ranks} ${TEST_ARGS})
    mpimerge_finish_test(${name}.np${ranks} ${ranks} "${TEST_TIMEOUT}")
    set_property(TEST ${name}.np${ranks} APPEND PROPERTY LABELS np${ranks})
    set_property(TEST ${name}.np${ranks} APPEND PROPERTY ENVIRONMENT "${MPIMERGE_SANITIZERS_WITHOUT_LEAKS}")
  endforeach()
  if(NOT TEST_NP)
    add_test(NAME ${name} COMMAND ${command} ${TEST_ARGS})
    if(NOT TEST_PROCESSES)
      set(TEST_PROCESSES 1)
    endif()
    mpimerge_finish_test(${name} ${TEST_PROCESSES} "${TEST_TIMEOUT}")
    set_property(TEST ${name} APPEND PROPERTY ENVIRONMENT "${MPIMERGE_SANITIZERS_WITHOUT_LEAKS}")
  endif()
endfunction()
