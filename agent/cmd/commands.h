/* The subcommands: argv[0] is the command's own name; the return value is the exit code (0 done, 1 failed, 2
 * bad usage). */
#ifndef WH_CMD_COMMANDS_H
#define WH_CMD_COMMANDS_H

#define WH_COMMANDS(X)                                                                                       \
    X("register", register, "register this machine as a runner of a repository or organisation")             \
    X("unregister", unregister, "remove a runner from GitHub and from this machine")                         \
    X("config", config, "the same by the options of the official config.sh")                                 \
    X("import", import, "take over the files of an official runner")                                         \
    X("export", export, "write a runner's files as the official runner has them")                            \
    X("jit", jit, "ask for a just-in-time runner")                                                           \
    X("run", run, "take jobs: the agent")                                                                    \
    X("status", status, "tell whether the agent runs and what it does")                                      \
    X("drain", drain, "let runners finish their jobs and take no others")                                    \
    X("resume", resume, "let drained runners take jobs again")                                               \
    X("cancel", cancel, "cancel what runners run now")                                                       \
    X("build", build, "build an image from a Dockerfile")                                                    \
    X("cache", cache, "look after the store of layers: du, list, verify, prune")                             \
    X("doctor", doctor, "can this box build images and run jobs, and what is to be done if not")             \
    X("exec", exec, "run a job of a workflow file here, with no service")                                    \
    X("lint", lint, "check workflow files: keys, expressions, names, inputs")                                \
    X("worker", worker, "")                                                                                  \
    X("builder", builder, "")                                                                                \
    X("docker", docker, "")                                                                                  \
    X("fetcher", fetcher, "")                                                                                \
    X("serve", serve, "")                                                                                    \
    X("version", version, "print the version and what this binary was built with")

#define WH_COMMAND_DECLARE(name, function, help) int wh_cmd_##function(int argc, char **argv);
WH_COMMANDS(WH_COMMAND_DECLARE)
#undef WH_COMMAND_DECLARE

#endif
