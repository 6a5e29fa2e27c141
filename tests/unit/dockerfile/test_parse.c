/* Reading of Dockerfiles, from the table in parse.txt; excerpts; limits. WHERRY_TEST_UPDATE=FILE writes the
 * table anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wherry/base/digest.h"
#include "wherry/base/fs.h"
#include "wherry/dockerfile/check.h"
#include "wherry/dockerfile/parse.h"

static void add_text(struct wh_str *out, const char *text)
{
    wh_str_addc(out, '"');
    for (; *text; text++) {
        if (*text == '\n')
            wh_str_add(out, "\\n");
        else if (*text == '\r')
            wh_str_add(out, "\\r");
        else if (*text == '\t')
            wh_str_add(out, "\\t");
        else
            wh_str_addc(out, *text);
    }
    wh_str_addc(out, '"');
}

static void add_flag(struct wh_str *out, const char *name, const char *value)
{
    if (!value)
        return;
    wh_str_addf(out, " --%s=", name);
    add_text(out, value);
}

static void add_flags(struct wh_str *out, const struct wh_df_instr *in)
{
    add_flag(out, "platform", in->platform);
    add_flag(out, "from", in->from);
    add_flag(out, "chown", in->chown);
    add_flag(out, "chmod", in->chmod);
    add_flag(out, "checksum", in->checksum);
    add_flag(out, "network", in->network);
    add_flag(out, "security", in->security);
    add_flag(out, "link", in->link ? "true" : NULL);
    add_flag(out, "parents", in->parents ? "true" : NULL);
    static const char *const tri[] = {NULL, "false", "true"};
    add_flag(out, "unpack", tri[in->unpack]);
    add_flag(out, "keep-git-dir", tri[in->keep_git_dir]);
    char **const lists[] = {in->excludes, in->mounts, in->devices};
    static const char *const names[] = {"exclude", "mount", "device"};
    for (size_t i = 0; i < WH_COUNT(lists); i++)
        for (size_t k = 0; lists[i] && lists[i][k]; k++)
            add_flag(out, names[i], lists[i][k]);
}

static void add_instr(struct wh_str *out, const struct wh_df_instr *in)
{
    wh_str_addf(out, "%d", in->range.line);
    if (in->range.end_line != in->range.line)
        wh_str_addf(out, "-%d", in->range.end_line);
    wh_str_addf(out, " %s", wh_df_kind_text(in->kind));
    add_flags(out, in);
    if (in->json)
        wh_str_add(out, " json");
    for (size_t i = 0; in->words && in->words[i]; i++) {
        wh_str_addc(out, ' ');
        add_text(out, in->words[i]);
    }
    for (size_t i = 0; i < in->npairs; i++) {
        wh_str_addc(out, ' ');
        add_text(out, in->pairs[i].name);
        if (in->pairs[i].value) {
            wh_str_add(out, in->pairs[i].no_delim ? " : " : "=");
            add_text(out, in->pairs[i].value);
        }
    }
    if (in->as)
        wh_str_addf(out, " as %s", in->as);
    if (in->kind == WH_DF_HEALTHCHECK)
        wh_str_addf(out, " %s interval %lld timeout %lld start %lld/%lld retries %lld",
                    in->health.none ? "none" : "cmd", (long long)in->health.interval,
                    (long long)in->health.timeout, (long long)in->health.start_period,
                    (long long)in->health.start_interval, (long long)in->health.retries);
    for (size_t i = 0; i < in->nheredocs; i++) {
        const struct wh_df_heredoc *d = &in->heredocs[i];
        wh_str_addf(out, " <<%u%s%s %s ", d->fd, d->chomp ? "-" : "", d->expand ? "" : "'", d->name);
        add_text(out, d->content);
    }
    wh_str_add(out, in->heredoc_only ? " only" : "");
    if (in->comment[0]) {
        wh_str_add(out, " # ");
        add_text(out, in->comment);
    }
    wh_str_addc(out, '\n');
}

/* What a Dockerfile is read as. */
static char *dump(const char *text, size_t len)
{
    wh_autostr out = {0};
    wh_autodockerfile *df = NULL;
    struct wh_df_range where;
    wh_autoerror err = {0};
    if (wh_df_parse(text, len, "Dockerfile", &df, &where, &err) < 0) {
        wh_str_addf(&out, "ERROR %d:%d %s\n", where.line, where.column, wh_error_text(&err));
        return wh_str_steal(&out);
    }
    if (df->syntax)
        wh_str_addf(&out, "syntax %s\n", df->syntax);
    if (df->check)
        wh_str_addf(&out, "check %s\n", df->check);
    if (df->escape != '\\')
        wh_str_addf(&out, "escape %c\n", df->escape);
    for (size_t i = 0; i < df->nmeta; i++)
        add_instr(&out, df->meta[i]);
    for (size_t i = 0; i < df->nstages; i++) {
        add_instr(&out, df->stages[i].from);
        for (size_t k = 0; k < df->stages[i].ninstrs; k++)
            add_instr(&out, df->stages[i].instrs[k]);
    }
    for (size_t i = 0; i < df->nwarnings; i++) {
        wh_autofree char *warning = wh_df_warning_text(&df->warnings[i]);
        wh_str_addf(&out, "warning %s\n", warning);
    }
    return wh_str_steal(&out);
}

/* \r, \xNN, \\ as in C; \0 at a line's end takes the newline away. */
static void unescape(struct wh_view in, struct wh_str *out)
{
    for (size_t i = 0; i < in.len; i++) {
        if (in.data[i] != '\\' || i + 1 >= in.len) {
            wh_str_addc(out, in.data[i]);
            continue;
        }
        char c = in.data[++i];
        unsigned char byte = 0;
        if (c == 'r') {
            wh_str_addc(out, '\r');
        } else if (c == 'x' && i + 2 < in.len) {
            wh_autofree char *digits = wh_strndup(in.data + i + 1, 2);
            wh_unhex(digits, &byte, 1);
            wh_str_addc(out, (char)byte);
            i += 2;
        } else if (c == '0') {
            i++; /* and the newline behind it */
        } else {
            wh_str_addc(out, c);
        }
    }
}

static void table(void **state)
{
    (void)state;
    wh_autostr text = {0}, anew = {0};
    const char *update = getenv("WHERRY_TEST_UPDATE");
    assert_int_equal(wh_read_file(AT_FDCWD, WH_TEST_DATA "/parse.txt", 1 << 20, &text, NULL), 0);
    const char *p = strstr(wh_str_text(&text), "\n=== ") + 1;
    wh_str_addn(&anew, wh_str_text(&text), (size_t)(p - wh_str_text(&text)));
    int bad = 0, cases = 0;
    while (p && *p) {
        const char *body = strchr(p, '\n') + 1,
                   *cut = strncmp(body, "---\n", 4) == 0 ? body - 1 : strstr(body, "\n---\n");
        assert_non_null(cut);
        const char *want = cut + 5, *next = strstr(want - 1, "\n=== ");
        wh_autostr file = {0};
        unescape((struct wh_view){body, (size_t)(cut + 1 - body)}, &file);
        wh_autofree char *got = dump(wh_str_text(&file), file.len);
        next += next ? 1 : 0;
        size_t want_len = next ? (size_t)(next - want) : strlen(want);
        if (strlen(got) != want_len || strncmp(got, want, want_len) != 0) {
            bad++;
            if (!update)
                fprintf(stderr, "%.*s\nwanted:\n%.*sgot:\n%s\n", (int)(body - p - 1), p, (int)want_len, want,
                        got);
        }
        wh_str_addn(&anew, p, (size_t)(want - p));
        wh_str_add(&anew, got);
        cases++;
        p = next;
    }
    if (update)
        assert_int_equal(wh_write_file(AT_FDCWD, update, anew.data, anew.len, 0644, NULL), 0);
    else
        assert_int_equal(bad, 0);
    assert_true(cases >= 100);
}

static int parse_status(const char *text, size_t len, struct wh_error *err)
{
    wh_autodockerfile *df = NULL;
    return wh_df_parse(text, len, "Dockerfile", &df, NULL, err);
}

static void line_limit(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_autoerror err = {0};
    wh_str_add(&text, "FROM scratch\nRUN ");
    while (text.len < 13 + WH_MAX_DOCKERFILE_LINE - 1)
        wh_str_addc(&text, 'x');
    wh_str_addc(&text, '\n');
    assert_int_equal(parse_status(text.data, text.len, NULL), 0);
    wh_str_truncate(&text, text.len - 1);
    wh_str_add(&text, "y\n");
    assert_true(parse_status(text.data, text.len, &err) < 0);
    assert_string_equal(wh_error_text(&err), "dockerfile line greater than max allowed size of 65535");
}

static void counts(void **state)
{
    (void)state;
    wh_autostr text = {0};
    wh_autoerror err = {0};
    wh_str_add(&text, "FROM scratch\n");
    for (int i = 1; i < WH_MAX_DOCKERFILE_INSTRUCTIONS; i++)
        wh_str_add(&text, "RUN x\n");
    assert_int_equal(parse_status(text.data, text.len, NULL), 0);
    wh_str_add(&text, "RUN x\n");
    assert_true(parse_status(text.data, text.len, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
    wh_error_clear(&err);
    wh_str_clear(&text);
    wh_str_add(&text, "FROM scratch\nEXPOSE");
    for (int i = 0; i <= WH_MAX_DOCKERFILE_WORDS; i++)
        wh_str_add(&text, i % 1000 == 999 ? " \\\n 1" : " 1");
    assert_true(parse_status(text.data, text.len, &err) < 0);
    assert_int_equal(err.code, WH_E_LIMIT);
}

static void hostile(void **state)
{
    (void)state;
    wh_autoerror err = {0};
    assert_true(parse_status("FROM scratch\nRUN a\0b\n", 21, &err) < 0);
    assert_non_null(strstr(wh_error_text(&err), "NUL"));
    wh_autostr deep = {0};
    wh_str_add(&deep, "FROM scratch\nCMD ");
    for (int i = 0; i < 30000; i++)
        wh_str_addc(&deep, '[');
    assert_true(parse_status(deep.data, deep.len, NULL) < 0);
    wh_str_clear(&deep);
    wh_str_add(&deep, "FROM scratch\n");
    for (int i = 0; i < 7000; i++)
        wh_str_add(&deep, "ONBUILD ");
    assert_true(parse_status(deep.data, deep.len, NULL) < 0);
    assert_int_equal(parse_status("FROM scratch\nRUN \xff\xfe\x80\n", 21, NULL), 0);
}

static void excerpts(void **state)
{
    (void)state;
    static const char text[] = "one\ntwo\nthree\nfour\nfive\nsix\n";
    wh_autofree char *middle =
        wh_df_excerpt(text, strlen(text), "Dockerfile", (struct wh_df_range){3, 5, 4}, NULL);
    assert_string_equal(
        middle, "Dockerfile:3\n--------------------\n   2 |     two\n   3 | >>> three\n   4 | >>> four\n"
                "   5 |     five\n--------------------\n");
    wh_autofree char *one =
        wh_df_excerpt(text, strlen(text), "a/D", (struct wh_df_range){3, 2, 3}, "what is wrong");
    assert_true(wh_starts_with(
        one,
        "a/D:3:2: what is wrong\n--------------------\n   1 |     one\n   2 |     two\n   3 | >>> three\n"
        "   4 |     four\n   5 |     five\n"));
    wh_autofree char *none = wh_df_excerpt(text, strlen(text), "D", (struct wh_df_range){0}, NULL);
    assert_string_equal(none, "");
    wh_autofree char *past = wh_df_excerpt(text, strlen(text), "D", (struct wh_df_range){99, 1, 99}, NULL);
    assert_string_equal(past, "");
}

static void triggers(void **state)
{
    (void)state;
    struct wh_df_instr *in = NULL;
    wh_autoerror err = {0};
    assert_int_equal(wh_df_parse_trigger("COPY <<EOF /x\nbody\nEOF", &in, NULL), 0);
    assert_int_equal(in->kind, WH_DF_COPY);
    assert_string_equal(in->heredocs[0].content, "body\n");
    wh_df_instr_free(in);
    assert_true(wh_df_parse_trigger("RUN a\nRUN b", &in, &err) < 0);
    assert_string_equal(wh_error_text(&err), "onbuild trigger should be a single expression");
    assert_true(wh_df_parse_trigger("FROM x", &in, NULL) < 0);
    assert_true(wh_df_parse_trigger("", &in, NULL) < 0);
    assert_true(wh_df_parse_trigger("NOPE", &in, NULL) < 0);
}

static bool warned(const struct wh_dockerfile *df, const char *rule, int line)
{
    for (size_t i = 0; i < df->nwarnings; i++)
        if (strcmp(df->warnings[i].rule, rule) == 0 && df->warnings[i].range.line == line)
            return true;
    return false;
}

static void lint(void **state)
{
    (void)state;
    static const char text[] =
        "FROM a AS Base\nfrom a AS x\nFROM a AS x\nFROM a AS context\nMAINTAINER me\nrun y\nRUN a \\\n\n b\n";
    wh_autodockerfile *df = NULL, *quiet = NULL;
    assert_int_equal(wh_df_parse(text, strlen(text), "Dockerfile", &df, NULL, NULL), 0);
    wh_df_lint(df);
    assert_true(warned(df, "StageNameCasing", 1));
    assert_true(warned(df, "FromAsCasing", 2));
    assert_true(warned(df, "DuplicateStageName", 3));
    assert_true(warned(df, "ReservedStageName", 4));
    assert_true(warned(df, "MaintainerDeprecated", 5));
    assert_true(warned(df, "ConsistentInstructionCasing", 6));
    assert_true(warned(df, "NoEmptyContinuation", 9));
    struct wh_df_check check = {0};
    wh_df_lint_settle(df, &check);
    assert_true(warned(df, "ReservedStageName", 4) && df->warnings[0].range.line == 1);
    assert_int_equal(wh_df_lint_verdict(df, &check, NULL), 0);
    wh_autofree char *strict = wh_printf("# check=skip=StageNameCasing,FromAsCasing;error=true\n%s", text);
    assert_int_equal(wh_df_parse(strict, strlen(strict), "Dockerfile", &quiet, NULL, NULL), 0);
    wh_df_lint(quiet);
    assert_true(warned(quiet, "StageNameCasing", 2));
    wh_autoerror err = {0};
    assert_int_equal(wh_df_check_parse(quiet->check, &check, &err), 0);
    wh_df_lint_settle(quiet, &check);
    assert_false(warned(quiet, "StageNameCasing", 2));
    assert_true(wh_df_lint_verdict(quiet, &check, &err) < 0);
    assert_true(wh_starts_with(wh_error_text(&err), "lint violation found for rules: "));
    wh_df_check_clear(&check);
    wh_error_clear(&err);
    assert_true(wh_df_check_parse("skip", &check, &err) < 0);
    assert_string_equal(wh_error_text(&err), "invalid check option \"skip\"");
    wh_autofree char *url = wh_df_rule_url("JSONArgsRecommended");
    assert_string_equal(url, "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(table),    cmocka_unit_test(line_limit),
                                       cmocka_unit_test(counts),   cmocka_unit_test(hostile),
                                       cmocka_unit_test(excerpts), cmocka_unit_test(triggers),
                                       cmocka_unit_test(lint)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
