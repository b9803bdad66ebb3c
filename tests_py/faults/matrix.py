"""The fault matrix: what can go wrong, by number, and which tests show what is true afterwards.

A row names its tests, or says why it has none here. ``test_matrix.py`` sees to it that they exist.
"""

from __future__ import annotations

from dataclasses import dataclass

FAULTS = "tests_py/api/test_faults.py::test_"
BODIES = "tests_py/api/test_bodies.py::test_"
POOLS = "tests_py/api/test_pools.py::test_"
PROGRAMS = "tests_py/api/test_programs.py::test_"
REMOTE = "tests_py/api/test_remote.py::test_"
SPMD = "tests_py/api/test_spmd.py::test_"
ROWS = "tests_py/faults/test_rows.py::test_"
GPU = "tests_py/faults/test_rows_gpu.py::test_"
EXECUTOR = "tests_cpp/exec/executor_fault_test.cpp::ExecutorFaultTest."
POINTS = "tests_cpp/exec/fault_point_test.cpp::"
NVML = "tests_cpp/gpu/nvml_test.cpp::Nvml."
LOCKS = "tests_cpp/lease/lock_directory_test.cpp::LockDirectory."
BOOK = "tests_cpp/lease/lease_book_test.cpp::LeaseBookTest."
SWEEP = "tests_cpp/exec/nth_failure_test.cpp::"

_NO_DAEMON = "nothing outlives a client but its guardian, which only its client speaks to"


@dataclass(frozen=True)
class Row:
    """One fault: its tests, or why there is none."""

    what: str
    tests: tuple[str, ...] = ()
    none_because: str = ""


MATRIX: dict[int, Row] = {
    1: Row("a body raises", (EXECUTOR + "RaisedFailure_LeavesTheWorkerWarm",)),
    2: Row(
        "exceptions that are hard to send",
        (
            FAULTS + "whatever_a_function_raises_is_an_answer",
            BODIES + "an_exception_that_ends_whoever_looks_at_it_is_an_answer",
        ),
    ),
    3: Row("SIGKILL of a worker at each moment of a call", (POINTS + "KilledAt.FollowsTheTable",)),
    4: Row(
        "a worker crashes in native code",
        (
            FAULTS + "a_worker_that_ends_in_the_body_fails_its_call_with_the_cause",
            ROWS + "row04_crash_signals",
        ),
    ),
    5: Row(
        "a worker leaves, or becomes another program",
        (
            EXECUTOR + "WorkerThatEndsInTheBody_FailsItsCallWithTheCause_AndThePoolGoesOn",
            BODIES + "a_body_that_becomes_another_program_fails_its_call",
            BODIES + "a_body_may_misuse_its_process",
        ),
    ),
    6: Row("the kernel's OOM killer", none_because="needs a memory cgroup of its own (privileged)"),
    7: Row(
        "a body that never ends; a process in D state",
        (
            EXECUTOR + "Timeout_EndsTheCallAndItsWorker_AndThePoolGoesOn",
            ROWS + "row11_a_worker_that_resists_is_ended",
        ),
    ),
    8: Row("a stopped worker", (BODIES + "a_stopped_worker_is_not_taken_for_dead",)),
    9: Row(
        "forks, daemons, a child that keeps stdout",
        (
            FAULTS + "a_daemon_that_a_function_leaves_ends_with_the_run",
            BODIES + "a_forked_child_that_returns_answers_nothing",
            ROWS + "row09_a_daemon_that_keeps_stdout",
        ),
    ),
    10: Row(
        "output without end, binary, or cut",
        (
            "tests_py/api/test_output.py::test_a_long_line_and_much_output_arrive_or_say_what_is_missing",
            FAULTS + "the_last_words_of_a_dead_worker_are_in_its_error",
        ),
    ),
    11: Row("a worker that resists its end", (ROWS + "row11_a_worker_that_resists_is_ended",)),
    12: Row(
        "results that cannot be sent", (FAULTS + "a_result_that_cannot_be_sent_names_the_place",)
    ),
    13: Row(
        "arguments that kill their reader",
        (FAULTS + "arguments_that_kill_their_reader_are_tried_three_times_at_the_most",),
    ),
    14: Row(
        "Ctrl-C",
        (
            FAULTS + "ctrl_c_ends_the_run_with_keyboard_interrupt",
            FAULTS + "ctrl_c_twice_ends_it_too",
            "tests_py/api/test_map_ends.py::test_ctrl_c_in_a_map_or_a_call_leaves_the_run_usable",
        ),
    ),
    15: Row(
        "the client's end, in every way",
        (
            FAULTS + "a_client_killed_in_a_map_leaves_nothing_and_frees_every_gpu",
            "tests_py/kills/test_kills.py::test_random_kills_leave_nothing_and_free_every_gpu",
            ROWS + "row15_a_client_that_ends_without_a_word",
        ),
    ),
    16: Row(
        "fork of the client",
        (
            FAULTS + "a_handle_used_in_a_forked_child_is_an_error_there",
            POOLS + "a_forked_child_may_open_a_run_of_its_own",
        ),
    ),
    17: Row(
        "threads, loops, the interpreter's end",
        (
            REMOTE + "calls_from_many_threads_get_their_own_answers",
            "tests_py/api/test_async.py::test_two_loops_in_turn_and_in_threads",
            PROGRAMS + "a_program_ends_at_once_and_whole",
        ),
    ),
    18: Row(
        "SIGKILL of the guardian",
        (
            FAULTS + "a_killed_guardian_fails_the_call_and_the_next_one_gets_a_new_guardian",
            EXECUTOR + "GuardianAndLauncherKilledWhileTheRunCloses_LeaveNothing",
            POINTS + "FaultPointTest.StruckAnywhere_TheRunComesToAnEnd_AndLeavesNothing",
        ),
    ),
    19: Row("a stopped guardian", (ROWS + "row19_a_stopped_guardian_is_waited_for",)),
    20: Row("SIGKILL of a daemon", none_because=_NO_DAEMON),
    21: Row("two daemons at once", none_because=_NO_DAEMON),
    22: Row("another user at the daemon's door", none_because=_NO_DAEMON),
    23: Row(
        "hostile peers",
        (
            "tests_cpp/exec/frame_test.cpp::FrameDecoder.OversizedOrForeignHeader_IsRefused",
            "tests_cpp/exec/frame_test.cpp::FrameDecoder.TruncatedFrame_IsNeverAFrame",
        ),
    ),
    24: Row(
        "the daemon's state on disk",
        none_because=_NO_DAEMON + "; state is rebuilt from locks each time",
    ),
    25: Row(
        "no shared memory to be had",
        (
            SWEEP + "NthFailure.OfTheChannel",
            SWEEP + "NthFailure.OfTheArena",
            ROWS + "row25_a_limit_on_file_size",
        ),
    ),
    26: Row(
        "shared memory that is not sealed, or cut",
        (
            "tests_cpp/exec/channel_test.cpp::Channel.UnsealedOrShortMemory_IsRefused",
            "tests_cpp/exec/arena_test.cpp::SlabTable.BlockOutsideItsSlab_IsRefused",
        ),
    ),
    27: Row(
        "no descriptor left",
        (
            POOLS + "too_few_descriptors_are_an_error_and_no_harm",
            SWEEP + "NthFailure.OfTheLeaseBook",
        ),
    ),
    28: Row(
        "no process to be had",
        (
            SWEEP + "NthFailure.OfTheProgramStart",
            POINTS + "FaultPointTest.StruckAnywhere_TheRunComesToAnEnd_AndLeavesNothing",
        ),
    ),
    29: Row("a full or read-only disk for logs", none_because="no log is kept on disk"),
    30: Row(
        "a stranger on a GPU",
        ("tests_py/gpu/test_real_gpu.py::test_a_stranger_is_seen_named_and_waited_for",),
    ),
    31: Row(
        "lock files removed or replaced",
        (
            LOCKS + "ALockFileThatWasRemovedAndMadeAnew_IsNotTheLock",
            LOCKS + "ADirectoryThatWasRemovedIsMadeAgain",
        ),
    ),
    32: Row(
        "the queue",
        (
            BOOK + "WaitersAreServedFirstInFirstOut",
            BOOK + "AGangIsNotPassedByALaterSmallRequest",
            BOOK + "AWaiterThatIsKilledLeavesTheQueue",
        ),
    ),
    33: Row(
        "requests that can never be granted",
        (FAULTS + "a_request_that_can_never_be_granted_says_what_exists",),
    ),
    34: Row(
        "nested calls that wait for their own GPUs",
        (REMOTE + "a_nested_call_that_needs_its_callers_gpus_is_a_deadlock_error",),
    ),
    35: Row(
        "NVML in every kind of trouble",
        (
            NVML + "KeepsTheOthersWhenOneGpuIsLost",
            NVML + "GivesUpACallThatHangsAndRecoversWhenItReturns",
            NVML + "KeepsItsOrderWhenTheDriverChangesIts",
            NVML + "ExplainsWhyThereIsNoGpu",
        ),
    ),
    36: Row("a kernel that traps", (GPU + "row36_a_worker_with_a_dead_context_is_replaced",)),
    37: Row("Xid events", none_because="of the health of GPUs: tested where that is"),
    38: Row(
        "memory that stays",
        (
            "tests_py/gpu/test_real_gpu.py::test_a_killed_holders_gpu_comes_back_after_its_memory_is_gone",
        ),
    ),
    39: Row(
        "MIG changes under a lease",
        (
            NVML + "ListsSlicesInPlaceOfAGpuThatIsCut",
            NVML + "SaysThatAGpuInMigModeWithoutSlicesCannotBeUsed",
        ),
    ),
    40: Row(
        "a rank of a gang fails",
        (
            ROWS + "row40_a_rank_fails",
            ROWS + "row40_a_rank_that_does_not_come_back",
            ROWS + "row40_a_rank_that_is_late",
            ROWS + "row40_ranks_that_cannot_be_imported",
            SPMD + "the_first_rank_that_fails_fails_the_call_and_ends_the_others",
        ),
    ),
    41: Row(
        "a collective that one rank skips",
        (
            GPU + "row41_a_skipped_collective_ends_with_every_stack",
            "tests_cpp/comm/communicator_fault_test.cpp::Timeout.SaysWhatTheMissingRankDidLast",
        ),
    ),
    42: Row(
        "a gang's port, or too few GPUs",
        (
            SPMD + "the_master_port_can_be_bound_by_rank_0_and_is_given_to_nobody_else",
            BOOK + "AGangIsNotPassedByALaterSmallRequest",
        ),
    ),
    43: Row(
        "the guardian of a gang is killed",
        (
            ROWS + "row43_the_guardian_of_a_gang_is_killed",
            GPU + "row43_the_guardian_of_a_gang_is_killed_on_gpus",
        ),
    ),
    44: Row(
        "clocks and suspension",
        (ROWS + "row44_no_wall_clock_decides", ROWS + "row44_everything_stopped_goes_on"),
    ),
    45: Row(
        "the user's environment",
        (
            PROGRAMS + "a_program_runs_in_an_odd_environment",
            REMOTE + "paths_with_odd_characters_and_a_lost_directory",
            "tests_cpp/gpu/visible_devices_test.cpp::VisibleDevices.AreReadAsCudaReadsThem",
        ),
    ),
    46: Row("Ray", none_because="there is no Ray back end yet"),
}
