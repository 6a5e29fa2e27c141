/* Options of `wherry build` as buildx reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/build.h"
#include "wherry/base/fs.h"

#define autooptions __attribute__((cleanup(build_options_clear))) struct build_options

/* Parses a NULL-terminated list of words behind `build`. */
static int parse(struct build_options *o, struct wh_error *err, const char *const *words)
{
    char *argv[32] = {"build"};
    int argc = 1;
    for (; words[argc - 1]; argc++)
        argv[argc] = (char *)words[argc - 1];
    return build_options_parse(argc, argv, o, err);
}
#define PARSE(o, err, ...) parse(o, err, (const char *const[]){__VA_ARGS__, NULL})

static void common(void **state)
{
    (void)state;
    autooptions o = {0};
    setenv("FROM_ENV", "value", 1);
    unsetenv("NOT_SET");
    assert_int_equal(PARSE(&o, NULL, "-t", "a/b:1", "--tag=c,d", "-fDocker/file", "--target", "t",
                           "--build-arg", "A=1=2", "--build-arg", "FROM_ENV", "--build-arg=NOT_SET",
                           "--label", "l", "--push", "--no-cache=false", "--pull", "--progress", "plain",
                           "--shm-size=2g", "--network=host", "--add-host", "h:1.2.3.4", "--annotation",
                           "manifest:k=v", "dir"),
                     0);
    wh_autofree char *tags = wh_strv_join(o.request->tags, " "),
                     *args = wh_strv_join(o.request->build_args, " ");
    assert_string_equal(tags, "a/b:1 c d");
    assert_string_equal(args, "A=1=2 FROM_ENV=value");
    assert_string_equal(o.file, "Docker/file");
    assert_string_equal(o.request->target, "t");
    assert_string_equal(o.request->labels[0], "l=");
    assert_string_equal(o.request->annotations[0], "manifest:k=v");
    assert_true(o.push && o.request->pull && !o.request->no_cache && !o.load);
    assert_int_equal(o.style, WH_STYLE_PLAIN);
    assert_true(o.request->shm_size == (uint64_t)2 << 30);
    assert_string_equal(o.context, "dir");
}

static void short_forms(void **state)
{
    (void)state;
    autooptions o = {0}, dashes = {0}, help = {0};
    assert_int_equal(PARSE(&o, NULL, "-qf", "x", "-t=y", "-"), 0);
    assert_true(o.quiet && o.style == WH_STYLE_QUIET);
    assert_string_equal(o.file, "x");
    assert_string_equal(o.request->tags[0], "y");
    assert_string_equal(o.context, "-");
    assert_int_equal(PARSE(&dashes, NULL, "--", "-odd"), 0);
    assert_string_equal(dashes.context, "-odd");
    assert_int_equal(PARSE(&help, NULL, "--help"), 0);
    assert_true(help.help);
}

static void secrets(void **state)
{
    (void)state;
    autooptions o = {0};
    char path[] = "/tmp/wherry-secret-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(wh_write_all(fd, "from file", 9, NULL), 0);
    close(fd);
    setenv("TOKEN", "from env", 1);
    wh_autofree char *file = wh_printf("id=f,src=%s", path),
                     *typed = wh_printf("type=file,id=g,source=%s", path);
    int r = PARSE(&o, NULL, "--secret", file, "--secret", typed, "--secret", "id=TOKEN", "--secret",
                  "id=x,env=TOKEN", ".");
    unlink(path);
    assert_int_equal(r, 0);
    static const char *const want[] = {"from file", "from file", "from env", "from env"};
    assert_int_equal(o.request->nsecrets, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(o.request->secrets[i].value, want[i]);
    assert_string_equal(o.request->secrets[3].id, "x");
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *words[4];
        const char *text;
    } cases[] = {{{NULL}, "which folder? `wherry build [OPTION...] PATH`, mostly `wherry build .`"},
                 {{"a", "b"}, "one PATH only, and there are `a` and `b`"},
                 {{"--tagg=x", "."}, "there is no option --tagg=x; did you mean --tag?"},
                 {{"-z", "."}, "there is no option -z"},
                 {{".", "-t"}, "-t needs a value"},
                 {{".", "--target"}, "--target needs a value"},
                 {{"--push=maybe", "."}, "--push maybe: must be true or false"},
                 {{"--platform", "linux/amd64,linux/arm64", "."},
                  "--platform linux/amd64,linux/arm64: only one platform, this machine's, is supported yet"},
                 {{"--ssh", "default", "."}, "--ssh is not supported yet by wherry's own builder"},
                 {{"--call", "check,format=yaml", "."},
                  "--call check,format=yaml: `format=yaml` is neither format=json nor ignorestatus"},
                 {{"--allow", "everything", "."}, "invalid entitlement: everything"},
                 {{"--network=moon", "."}, "--network moon: network mode must be default, host or none"},
                 {{"--progress=fast", "."}, "--progress fast: must be auto, plain, tty, json or quiet"},
                 {{"--shm-size=big", "."}, "--shm-size big: must be a size, as 64m or 2g"},
                 {{"--secret=src=x", "."}, "--secret src=x: needs an id, as id=token,src=token.txt"},
                 {{"--secret=id=x,env=NOPE_NOPE", "."}, "--secret id=x: the variable NOPE_NOPE is not set"},
                 {{"--build-context", "x", "."},
                  "--build-context x: must be NAME=FOLDER, NAME=docker-image://REF or NAME=https://....git"},
                 {{"--build-context", "x=https://y", "."},
                  "failed to get build context x: stat https://y: no such file or directory"}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        autooptions o = {0};
        wh_autoerror err = {0};
        if (parse(&o, &err, cases[i].words) == 0)
            fail_msg("%s was taken", cases[i].words[0]);
        assert_string_equal(wh_error_text(&err), cases[i].text);
    }
    autooptions fine = {0};
    assert_int_equal(PARSE(&fine, NULL, "--provenance=false", "--cache-to", "type=gha,mode=max",
                           "--cache-from=type=gha", "--sbom", "true", "--attest=type=provenance,mode=max",
                           "."),
                     0);
    assert_string_equal(fine.request->attests[0], "type=provenance,disabled=true");
    assert_string_equal(fine.request->attests[1], "type=sbom");
    assert_string_equal(fine.request->attests[2], "type=provenance,mode=max");
    assert_string_equal(fine.request->cache_to[0], "type=gha,mode=max");
    assert_string_equal(fine.request->cache_from[0], "type=gha");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(common), cmocka_unit_test(short_forms),
                                       cmocka_unit_test(secrets), cmocka_unit_test(refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
