/* Conditions: what an author's `if` means, and its evaluation (job-execution.md §2.7). */
#include "text.h"
#include "wherry/job/template.h"

/* The expression that an `if` text stands for: the text itself, or what its ${{ }} say. Owned; NULL on
 * failure. */
static char *condition_expression(const char *text, uint32_t allows, struct wh_error *err)
{
    if (!strstr(text, "${{"))
        return wh_view_dup(wh_view_trim_unicode(wh_view_of(text)));
    wh_autotoken *token = wh_template_from_text(text, strlen(text), false, allows, err);
    if (!token)
        return NULL;
    if (token->type == WH_TOKEN_EXPRESSION)
        return wh_strndup(token->text, token->text_len);
    /* ${{ 'text' }} folds to a literal: back to an expression of that text. */
    struct wh_view literal = {token->text ? token->text : "", token->text_len};
    wh_autostr out = {0};
    wh_str_addc(&out, '\'');
    for (size_t i = 0; i < literal.len; i++) {
        if (literal.data[i] == '\'')
            wh_str_addc(&out, '\'');
        wh_str_addc(&out, literal.data[i]);
    }
    wh_str_addc(&out, '\'');
    return wh_str_steal(&out);
}

char *wh_condition_from_text(const char *text, uint32_t allows, struct wh_error *err)
{
    wh_autofree char *expression = condition_expression(text, allows, err);
    if (!expression)
        return NULL;
    wh_autoexpr *tree = wh_expr_parse(expression, strlen(expression), allows, err);
    if (!tree)
        return NULL;
    if (wh_expr_is_blank(tree))
        return wh_strdup("success()");
    if (wh_expr_uses_status(tree))
        return wh_steal(&expression);
    return wh_printf("success() && (%s)", expression);
}

int wh_condition_eval(const char *condition, uint32_t allows, const struct wh_eval *env, struct wh_error *err)
{
    wh_autoexpr *tree =
        wh_expr_parse(condition ? condition : "", condition ? strlen(condition) : 0, allows, err);
    if (!tree)
        return -1;
    wh_autovalue *result = wh_expr_is_blank(tree) ? wh_expr_eval_text("success()", WH_ALLOW_STATUS, env, err)
                                                  : wh_expr_eval(tree, env, err);
    if (!result)
        return -1;
    return wh_value_truthy(result);
}
