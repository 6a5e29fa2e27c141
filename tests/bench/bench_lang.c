/* Figures of the job language, on one core: expressions a second, and the masker beside `grep -F -f`.
 *   bench_lang expr              simple expressions evaluated a second
 *   bench_lang mask MASKS FILE   masks every line of FILE with the lines of MASKS as secrets; MB a second
 * tests/bench/mask.sh makes both files and runs grep over the same. */
#include <stdio.h>

#include "wherry/base/clock.h"
#include "wherry/base/fs.h"
#include "wherry/job/expr.h"
#include "wherry/job/mask.h"

static int fail(const struct wh_error *err)
{
    fprintf(stderr, "bench_lang: %s\n", wh_error_text(err));
    return 1;
}

static struct wh_value *contexts(void)
{
    wh_autojson *json = cJSON_Parse("{\"github\":{\"ref\":\"refs/heads/main\",\"event_name\":\"push\"},"
                                    "\"steps\":{\"a\":{\"outputs\":{\"n\":\"1\"},\"outcome\":\"success\"}}}");
    return wh_value_from_json(json, NULL);
}

static int bench_expressions(void)
{
    static const char *const texts[] = {
        "success()", "github.ref == 'refs/heads/main'", "steps.a.outputs.n != ''",
        "github.event_name == 'push' && startsWith(github.ref, 'refs/heads/')"};
    wh_autovalue *values = contexts();
    struct wh_eval env = {.contexts = values};
    for (size_t i = 0; i < WH_COUNT(texts); i++) {
        wh_autoerror err = {0};
        wh_autoexpr *e = wh_expr_parse(texts[i], strlen(texts[i]), wh_place_allows(WH_PLACE_ANY), &err);
        if (!e)
            return fail(&err);
        const unsigned count = 2000000;
        uint64_t start = wh_mono_ns();
        for (unsigned k = 0; k < count; k++)
            wh_value_unref(wh_expr_eval(e, &env, &err));
        double evaluated = count / ((double)(wh_mono_ns() - start) / 1e9);
        start = wh_mono_ns();
        for (unsigned k = 0; k < count / 4; k++)
            wh_value_unref(wh_expr_eval_text(texts[i], wh_place_allows(WH_PLACE_ANY), &env, &err));
        double parsed = count / 4.0 / ((double)(wh_mono_ns() - start) / 1e9);
        printf("%-72s %5.2f M/s evaluated, %5.2f M/s with parsing\n", texts[i], evaluated / 1e6,
               parsed / 1e6);
    }
    return 0;
}

static int bench_mask(const char *masks, const char *file)
{
    wh_autoerror err = {0};
    wh_autostr list = {0}, text = {0}, out = {0};
    if (wh_read_file(AT_FDCWD, masks, 1 << 20, &list, &err) < 0 ||
        wh_read_file(AT_FDCWD, file, 1 << 30, &text, &err) < 0)
        return fail(&err);
    struct wh_masker *m = wh_masker_new();
    struct wh_reader r = wh_reader_of(list.data, list.len);
    struct wh_view line;
    while (wh_reader_line(&r, &line))
        if (wh_masker_add(m, (const char *)line.data, line.len, &err) < 0)
            return fail(&err);
    (void)wh_mask(m, "x", 1, &out); /* builds the automaton */
    size_t hits = 0;
    uint64_t start = wh_mono_ns();
    r = wh_reader_of(text.data, text.len);
    while (wh_reader_line(&r, &line))
        hits += wh_mask(m, (const char *)line.data, line.len, &out);
    double seconds = (double)(wh_mono_ns() - start) / 1e9;
    printf("%.3f s, %.0f MB/s, %zu lines masked\n", seconds, (double)text.len / 1e6 / seconds, hits);
    wh_masker_free(m);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && wh_streq(argv[1], "expr"))
        return bench_expressions();
    if (argc == 4 && wh_streq(argv[1], "mask"))
        return bench_mask(argv[2], argv[3]);
    fprintf(stderr, "usage: bench_lang expr | mask MASKS FILE\n");
    return 2;
}
