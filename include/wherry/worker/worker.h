/* The worker: one job from its message to its conclusion, in a process of its own that already has the rights
 * of the job's user (job-execution.md §5).
 *
 * Frames on `control` (wherry/base/frame.h):
 *   in   {"type":"job","message":{...},"runner":{...},"options":{...}}      once, first
 *        {"type":"cancel","reason":"user"|"shutdown"|"lost","graceMs":N}
 *   out  {"type":"state","step":"name","number":N,"phase":"started"|"completed","conclusion":"..."}
 *        {"type":"build"} with one descriptor: the far end of a build channel
 *        {"type":"done","result":"succeeded"|"failed"|"canceled"|"abandoned","completed":bool}
 *            completed: the service has accepted the job's completion (always true for a local run)
 * runner: name, version, os, arch, group, machine, workDir (absolute, made by the starter for the job's
 * user), toolCache, temp (optional). options: "local": true — no service: lines go to standard output;
 *          "localRepository": folder that stands for the workflow's own repository: actions/checkout of it
 * copies that work tree; "stepDebug": true. */
#ifndef WH_WORKER_WORKER_H
#define WH_WORKER_WORKER_H

/* The whole life of the process. Returns the exit code: 100 + the result's number (wherry/github/job.h), or 1
 * if there was no job to run (the reason is on standard error). */
int wh_worker_main(int control);

#endif
