# Runs PROGRAM on RANKS ranks and checks how it ends.
execute_process(COMMAND ${MPIEXEC} -q --oversubscribe -n ${RANKS} ${PROGRAM}
                TIMEOUT 20 RESULT_VARIABLE code OUTPUT_VARIABLE out ERROR_VARIABLE err)
math(EXPR last "${RANKS} - 1")
if(NOT code EQUAL 70)
  message(FATAL_ERROR "ended with ${code}, expected the exit code 70; stderr: ${err}")
endif()
if(NOT err MATCHES "^mpimerge: error: \\[rank ${last}/${RANKS} [^] \n]+\\] alone with this\n$")
  message(FATAL_ERROR "expected one line of rank ${last} on stderr, found: ${err}")
endif()
if(NOT out STREQUAL "")
  message(FATAL_ERROR "expected nothing on stdout, found: ${out}")
endif()
