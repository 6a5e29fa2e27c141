/* The rows of a matrix. */
#include "wherry/workflow/matrix.h"

struct include {
    struct wh_value *filter, *extra; /* objects: keys that are vectors, and others */
    bool matched;
};

struct expand {
    struct wh_matrix *out;
    struct wh_value *vectors; /* object of arrays, in order */
    const struct wh_value *exclude;
    struct include *includes;
    size_t nincludes;
};

static int fail_at(struct wh_matrix *out, const char *key, struct wh_error *err, const char *fmt, ...)
    WH_PRINTF(4, 5);
static int fail_at(struct wh_matrix *out, const char *key, struct wh_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    wh_autofree char *text = wh_vprintf(fmt, args);
    va_end(args);
    free(out->at);
    out->at = wh_strdup(key);
    return wh_fail(err, WH_E_PARSE, "%s", text);
}

/* ---- filters: each leaf is compared with what lies at the same place of the row ---- */

static const struct wh_value *member_of(const struct wh_value *v, const char *key)
{
    if (wh_value_kind(v) == WH_OBJECT)
        return wh_object_get(v, key);
    double index = wh_value_kind(v) == WH_ARRAY ? wh_number_parse(key, strlen(key)) : -1;
    return index >= 0 && index < (double)wh_value_count(v) ? wh_array_at(v, (size_t)index) : NULL;
}

static bool filter_matches(const struct wh_value *filter, const struct wh_value *row)
{
    if (wh_value_is_primitive(filter))
        return wh_value_equals(row, filter);
    bool array = wh_value_kind(filter) == WH_ARRAY;
    for (size_t i = 0; i < wh_value_count(filter); i++) {
        wh_autofree char *number = array ? wh_printf("%zu", i) : NULL;
        const char *key = array ? number : wh_object_key_at(filter, i);
        const struct wh_value *leaf = array ? wh_array_at(filter, i) : wh_object_value_at(filter, i);
        if (!filter_matches(leaf, member_of(row, key)))
            return false;
    }
    return true;
}

/* ---- reading ---- */

static int read_vectors(struct expand *x, const struct wh_value *matrix, struct wh_error *err)
{
    for (size_t i = 0; i < wh_value_count(matrix); i++) {
        const char *name = wh_object_key_at(matrix, i);
        const struct wh_value *vector = wh_object_value_at(matrix, i);
        if (wh_streq_ci(name, "include") || wh_streq_ci(name, "exclude"))
            continue;
        if (wh_value_kind(vector) != WH_ARRAY)
            return fail_at(x->out, name, err, "Matrix vector '%s': Expected a sequence", name);
        if (wh_value_count(vector) == 0)
            return fail_at(x->out, name, err, "Matrix vector '%s' does not contain any values", name);
        wh_object_set(x->vectors, name, vector);
    }
    return 0;
}

static int read_include(struct expand *x, const struct wh_value *list, struct wh_error *err)
{
    if (wh_value_is_null(list))
        return 0;
    if (wh_value_kind(list) != WH_ARRAY)
        return fail_at(x->out, "include", err, "Matrix include: Expected a sequence");
    x->includes = wh_calloc(wh_value_count(list) + 1, sizeof *x->includes);
    for (size_t i = 0; i < wh_value_count(list); i++) {
        const struct wh_value *item = wh_array_at(list, i);
        if (wh_value_kind(item) != WH_OBJECT)
            return fail_at(x->out, "include", err, "Matrix include item %zu: Expected a mapping", i + 1);
        if (wh_value_count(item) == 0)
            return fail_at(x->out, "include", err, "Matrix include mapping does not contain any values");
        struct include *in = &x->includes[x->nincludes++];
        in->filter = wh_value_object();
        in->extra = wh_value_object();
        for (size_t k = 0; k < wh_value_count(item); k++) {
            const char *key = wh_object_key_at(item, k);
            wh_object_set(wh_object_has(x->vectors, key) ? in->filter : in->extra, key,
                          wh_object_value_at(item, k));
        }
    }
    return 0;
}

static int read_exclude(struct expand *x, const struct wh_value *list, struct wh_error *err)
{
    if (wh_value_is_null(list))
        return 0;
    if (wh_value_kind(list) != WH_ARRAY)
        return fail_at(x->out, "exclude", err, "Matrix exclude: Expected a sequence");
    for (size_t i = 0; i < wh_value_count(list); i++) {
        const struct wh_value *item = wh_array_at(list, i);
        if (wh_value_kind(item) != WH_OBJECT)
            return fail_at(x->out, "exclude", err, "Matrix exclude item %zu: Expected a mapping", i + 1);
        if (wh_value_count(item) == 0)
            return fail_at(x->out, "exclude", err, "Matrix exclude filter must not be empty");
        for (size_t k = 0; k < wh_value_count(item); k++)
            if (!wh_object_has(x->vectors, wh_object_key_at(item, k)))
                return fail_at(x->out, "exclude", err,
                               "Matrix exclude key '%s' does not match any key within the matrix",
                               wh_object_key_at(item, k));
    }
    x->exclude = list;
    return 0;
}

/* ---- rows ---- */

static void add_segments(const struct wh_value *v, struct wh_str *out)
{
    if (wh_value_is_null(v))
        return;
    if (wh_value_is_primitive(v)) {
        wh_autofree char *text = wh_value_to_string(v);
        if (text[0])
            wh_str_addf(out, "%s%s", out->len > 0 ? ", " : "", text);
        return;
    }
    bool array = wh_value_kind(v) == WH_ARRAY;
    for (size_t i = 0; i < wh_value_count(v); i++)
        add_segments(array ? wh_array_at(v, i) : wh_object_value_at(v, i), out);
}

static int add_row(struct expand *x, struct wh_value *values_taken, const struct wh_value *extra,
                   struct wh_error *err)
{
    wh_autovalue *values = values_taken;
    struct wh_matrix *m = x->out;
    if (m->nrows == WH_MAX_MATRIX_ROWS)
        return fail_at(m, NULL, err, "Matrix makes more than %u jobs", WH_MAX_MATRIX_ROWS);
    wh_autostr suffix = {0};
    add_segments(values, &suffix);
    for (size_t i = 0; i < wh_value_count(extra); i++)
        wh_object_set(values, wh_object_key_at(extra, i), wh_object_value_at(extra, i));
    m->rows = wh_reallocarray(m->rows, m->nrows + 1, sizeof *m->rows);
    m->rows[m->nrows++] = (struct wh_matrix_row){wh_steal(&values), wh_str_steal(&suffix)};
    return 0;
}

static bool excluded(const struct expand *x, const struct wh_value *row)
{
    for (size_t i = 0; i < wh_value_count(x->exclude); i++)
        if (filter_matches(wh_array_at(x->exclude, i), row))
            return true;
    return false;
}

static int product_row(struct expand *x, size_t index, size_t product, struct wh_error *err)
{
    wh_autovalue *row = wh_value_object();
    size_t block = product;
    for (size_t i = 0; i < wh_value_count(x->vectors); i++) {
        const struct wh_value *vector = wh_object_value_at(x->vectors, i);
        block /= wh_value_count(vector);
        wh_object_set(row, wh_object_key_at(x->vectors, i),
                      wh_array_at(vector, index / block % wh_value_count(vector)));
    }
    if (excluded(x, row))
        return 0;
    wh_autovalue *extra = wh_value_object();
    for (size_t i = 0; i < x->nincludes; i++) {
        struct include *in = &x->includes[i];
        if (!filter_matches(in->filter, row))
            continue;
        in->matched = true;
        for (size_t k = 0; k < wh_value_count(in->extra); k++)
            wh_object_set(extra, wh_object_key_at(in->extra, k), wh_object_value_at(in->extra, k));
    }
    return add_row(x, wh_steal(&row), extra, err);
}

static int add_product(struct expand *x, struct wh_error *err)
{
    size_t product = wh_value_count(x->vectors) > 0 ? 1 : 0;
    for (size_t i = 0; i < wh_value_count(x->vectors); i++) {
        size_t n = wh_value_count(wh_object_value_at(x->vectors, i));
        if (product > WH_MAX_MATRIX_PRODUCT / n)
            return fail_at(x->out, NULL, err, "Matrix has more than %u combinations", WH_MAX_MATRIX_PRODUCT);
        product *= n;
    }
    for (size_t i = 0; i < product; i++)
        if (product_row(x, i, product, err) < 0)
            return -1;
    return 0;
}

static int add_unmatched(struct expand *x, struct wh_error *err)
{
    for (size_t i = 0; i < x->nincludes; i++) {
        const struct include *in = &x->includes[i];
        if (in->matched)
            continue;
        struct wh_value *row = wh_value_copy_shallow(in->filter);
        for (size_t k = 0; k < wh_value_count(in->extra); k++)
            wh_object_set(row, wh_object_key_at(in->extra, k), wh_object_value_at(in->extra, k));
        if (add_row(x, row, NULL, err) < 0)
            return -1;
    }
    return 0;
}

static int expand(struct expand *x, const struct wh_value *matrix, struct wh_error *err)
{
    if (wh_value_kind(matrix) != WH_OBJECT)
        return fail_at(x->out, NULL, err, "Matrix: Expected a mapping");
    if (read_vectors(x, matrix, err) < 0 || read_include(x, wh_object_get(matrix, "include"), err) < 0 ||
        read_exclude(x, wh_object_get(matrix, "exclude"), err) < 0)
        return -1;
    if (wh_value_count(x->vectors) == 0 && x->nincludes == 0)
        return fail_at(x->out, NULL, err, "Matrix must define at least one vector");
    return add_product(x, err) < 0 || add_unmatched(x, err) < 0 ? -1 : 0;
}

int wh_matrix_expand(const struct wh_value *matrix, struct wh_matrix *out, struct wh_error *err)
{
    struct expand x = {.out = out, .vectors = wh_value_object()};
    *out = (struct wh_matrix){0};
    int n = expand(&x, matrix, err);
    for (size_t i = 0; i < x.nincludes; i++) {
        wh_value_unref(x.includes[i].filter);
        wh_value_unref(x.includes[i].extra);
    }
    free(x.includes);
    wh_value_unref(x.vectors);
    return n;
}

void wh_matrix_clear(struct wh_matrix *m)
{
    for (size_t i = 0; i < m->nrows; i++) {
        wh_value_unref(m->rows[i].values);
        free(m->rows[i].suffix);
    }
    free(m->rows);
    free(m->at);
    *m = (struct wh_matrix){0};
}
