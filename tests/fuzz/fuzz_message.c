/* Job messages, and what is done with all of one: contexts, masks, evaluation of each token. */
#include "wherry/job/logtext.h"
#include "wherry/job/mask.h"
#include "wherry/job/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void evaluate(const struct wh_token *t, struct wh_template_env *env)
{
    wh_autofree char *text = NULL;
    wh_autovalue *v = wh_token_eval(t, env, NULL);
    wh_autovalue *strings = wh_token_eval_strings(t, true, env, NULL);
    wh_token_eval_string(t, env, &text, NULL);
    wh_autojson *json = wh_token_to_json(t);
    (void)v;
    (void)json;
    (void)strings;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wh_autoerror err = {0};
    wh_automessage *m = wh_message_parse((const char *)data, size, &err);
    if (!m)
        return 0;
    wh_autovalue *contexts = wh_message_contexts(m);
    struct wh_template_env env = {.eval = {.contexts = contexts},
                                  .allows = wh_place_allows(WH_PLACE_STEP),
                                  .file_table = m->file_table};
    for (size_t i = 0; i < m->nenvironment; i++)
        evaluate(m->environment[i], &env);
    for (size_t i = 0; i < m->nsteps; i++) {
        wh_autofree char *name = wh_step_display_name(&m->steps[i], &env);
        (void)name;
        evaluate(m->steps[i].inputs, &env);
        evaluate(m->steps[i].environment, &env);
    }
    evaluate(m->job_outputs, &env);
    struct wh_masker *masker = wh_masker_new();
    wh_masker_add_message(masker, m, NULL);
    wh_autofree char *masked = wh_mask_text(masker, "some text to mask");
    (void)masked;
    wh_masker_free(masker);
    wh_strv_free(env.errors);
    return 0;
}
