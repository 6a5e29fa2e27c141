/* The stage graph: names, indices, targets, what is needed, named contexts, circles, triggers. */
#include "stages.h"

static void only_what_is_needed(void **state)
{
    (void)state;
    autobuilt b = {.options.target = "FINAL"};
    assert_built(&b,
                 "FROM a AS one\nFROM b AS two\nFROM c AS three\nCOPY --from=one / /\nFROM scratch AS final\n"
                 "RUN --mount=from=three,target=/x true\nFROM d\n",
                 NULL);
    const bool want[] = {true, false, true, true, false};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(b.plan->stages[i].needed, want[i]);
    assert_int_equal(b.plan->target, 3);
    assert_int_equal(b.plan->stages[3].ndeps, 1);
    assert_int_equal(b.plan->stages[3].deps[0], 2);
}

static void bases(void **state)
{
    (void)state;
    char *const contexts[] = {"alpine", "other::linux/arm64", "replaced", NULL};
    char *const args[] = {"B=chosen", NULL};
    autobuilt b = {.options.contexts = contexts, .options.build_args = args};
    assert_built(
        &b,
        "ARG B=default\nARG T=1.${B}\nFROM ${B}:$T AS x\nFROM x\nFROM scratch\nFROM "
        "docker.io/library/alpine:latest\n"
        "FROM other\nFROM reg.io:5000/a/b\nFROM nope AS replaced\nRUN never\nFROM localhost/q@sha256:1\n"
        "FROM user/img\nCOPY --from=1 / /\nCOPY --from=2 / /\nCOPY --from=3 / /\nCOPY --from=4 / /\n"
        "COPY --from=5 / /\nCOPY --from=replaced / /\nCOPY --from=7 / /\n",
        NULL);
    const struct wh_df_plan_stage *s = b.plan->stages;
    assert_int_equal(s[0].base.kind, WH_DF_SOURCE_IMAGE);
    assert_string_equal(s[0].base.name, "chosen:1.chosen");
    assert_string_equal(s[0].image, "docker.io/library/chosen:1.chosen");
    assert_int_equal(s[1].base.kind, WH_DF_SOURCE_STAGE);
    assert_int_equal(s[1].base.stage, 0);
    assert_int_equal(s[2].base.kind, WH_DF_SOURCE_SCRATCH);
    assert_int_equal(s[3].base.kind, WH_DF_SOURCE_NAMED);
    assert_string_equal(s[3].base.name, "alpine");
    assert_int_equal(s[4].base.kind, WH_DF_SOURCE_IMAGE); /* the context is for another platform */
    assert_string_equal(s[5].image, "reg.io:5000/a/b:latest");
    assert_true(s[6].replaced);
    assert_string_equal(s[6].base.name, "replaced");
    assert_int_equal(b.results[6]->nsteps, 1); /* FROM alone */
    assert_string_equal(s[7].image, "localhost/q@sha256:1");
    assert_string_equal(s[8].image, "docker.io/user/img:latest");
}

static void froms(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b,
                 "FROM a AS Build\nFROM scratch\nCOPY --from=BUILD /a /\nCOPY --from=0 /a /\nCOPY "
                 "--from=busybox:1 /a /\n"
                 "COPY --from=scratch /a /\nCOPY /a /\n",
                 NULL);
    assert_int_equal(step_of(&b, WH_DF_COPY, 0)->from.kind, WH_DF_SOURCE_STAGE);
    assert_int_equal(step_of(&b, WH_DF_COPY, 1)->from.stage, 0);
    assert_int_equal(step_of(&b, WH_DF_COPY, 2)->from.kind, WH_DF_SOURCE_IMAGE);
    assert_string_equal(step_of(&b, WH_DF_COPY, 2)->from.name, "busybox:1");
    assert_int_equal(step_of(&b, WH_DF_COPY, 3)->from.kind, WH_DF_SOURCE_SCRATCH);
    assert_int_equal(step_of(&b, WH_DF_COPY, 4)->from.kind, WH_DF_SOURCE_CONTEXT);
}

static void refusals(void **state)
{
    (void)state;
    assert_refused("FROM scratch\nCOPY --from=7 / /\n", "invalid stage index 7", 2);
    assert_refused("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nCOPY --from=a / /\n",
                   "circular dependency detected on stage: a", 2);
    assert_refused("FROM scratch AS a\nCOPY --from=a / /\n", "circular dependency detected on stage: a", 2);
    assert_refused("FROM scratch AS a\nCOPY --from=b / /\nFROM scratch AS b\nFROM a\n",
                   "cannot copy from stage \"b\", it needs to be defined before current stage \"a\"", 2);
    assert_refused("FROM scratch\nCOPY --from=$x / /\n",
                   "variable expansion is not supported for --from, define a new stage with FROM using ARG "
                   "from global scope as a "
                   "workaround",
                   2);
    assert_refused("ARG X\nFROM $X\n", "base name ($X) should not be blank", 2);
    assert_refused("FROM ${X:?name-it}\n", "failed to process \"${X:?name-it}\": X: name-it", 1);
    assert_refused("ARG A=${B:?no-B}\nFROM scratch\n", "failed to process \"${B:?no-B}\": B: no-B", 1);
    assert_refused("FROM --platform=$NOPE scratch\n", "empty platform value from expression $NOPE", 1);
}

static void targets(void **state)
{
    (void)state;
    autobuilt b = {.options.target = "bild"};
    assert_true(build_all(&b, "FROM scratch AS build\nFROM scratch AS run\n", NULL) < 0);
    assert_string_equal(wh_error_text(&b.error),
                        "target stage \"bild\" could not be found (did you mean build?)");
    autobuilt far = {.options.target = "zzz"};
    assert_true(build_all(&far, "FROM scratch AS build\n", NULL) < 0);
    assert_string_equal(wh_error_text(&far.error), "target stage \"zzz\" could not be found");
    assert_int_equal(far.where.line, 0);
}

static void platforms(void **state)
{
    (void)state;
    char *const args[] = {"TARGETARCH=mine", NULL};
    autobuilt b = {
        .options = {.build_platform = "linux/amd64", .target_platform = "linux/arm/v7", .build_args = args}};
    assert_built(&b,
                 "FROM --platform=$BUILDPLATFORM x AS tool\nFROM scratch AS last\n"
                 "ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDARCH TARGETSTAGE\nCOPY "
                 "--from=tool / /\nRUN true\n",
                 NULL);
    assert_string_equal(b.plan->stages[0].platform, "linux/amd64");
    assert_string_equal(b.plan->stages[1].platform, "linux/arm/v7");
    assert_string_equal(history(&b, 0),
                        "ARG TARGETPLATFORM=linux/arm/v7 TARGETOS=linux TARGETARCH=mine TARGETVARIANT=v7 "
                        "BUILDARCH=amd64 TARGETSTAGE=last");
    assert_string_equal(wh_json_string(target(&b)->config, "architecture"), "arm");
    assert_string_equal(wh_json_string(target(&b)->config, "variant"), "v7");
}

static void image_triggers(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b, "FROM scratch AS tool\nFROM img\nRUN own\n",
                 "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"OnBuild\":[\"COPY --from=tool "
                 "/a /b\",\"RUN x $A\",\"ENV "
                 "K=v\"]},\"rootfs\":{\"diff_ids\":[\"sha256:"
                 "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef\"]}}");
    assert_true(b.plan->stages[0].needed); /* by the trigger alone */
    const struct wh_df_result *r = target(&b);
    assert_int_equal(r->nsteps, 5);
    assert_true(r->steps[1].trigger);
    assert_string_equal(r->steps[1].title, "[stage-1 2/5] ONBUILD COPY --from=tool /a /b");
    assert_string_equal(r->steps[2].title, "[stage-1 3/5] ONBUILD RUN x $A");
    assert_string_equal(r->steps[4].title, "[stage-1 4/5] RUN own");
    assert_string_equal(history(&b, 0), "COPY /a /b # buildkit");
    assert_int_equal(r->steps[1].range.line, 2);
    assert_config(&b, "OnBuild", "");
}

static void stage_triggers(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b, "FROM scratch AS base\nONBUILD RUN early\nRUN first\nFROM base\nRUN late\n", NULL);
    assert_string_equal(history(&b, 0), "RUN /bin/sh -c first # buildkit");
    assert_string_equal(history(&b, 1), "RUN /bin/sh -c early # buildkit");
    assert_string_equal(history(&b, 2), "RUN /bin/sh -c late # buildkit");
    wh_autofree char *onbuild = wh_strv_join(b.results[0]->onbuild, ";");
    assert_string_equal(onbuild, "RUN early");
    assert_null(target(&b)->onbuild);
    assert_refused("FROM scratch AS base\nONBUILD NOPE x\nFROM base\n",
                   "ONBUILD NOPE x: unknown instruction: NOPE (did you mean COPY?)", 3);
}

static void titles(void **state)
{
    (void)state;
    autobuilt one = {0}, named = {0}, mounted = {0}, ten = {0};
    assert_built(&one, "FROM x AS build\nRUN a\nWORKDIR /\nCOPY a /\n", NULL);
    assert_string_equal(target(&one)->steps[0].title, "[1/4] FROM docker.io/library/x:latest");
    assert_string_equal(step_of(&one, WH_DF_RUN, 0)->title, "[2/4] RUN a");
    assert_null(step_of(&one, WH_DF_WORKDIR, 0)->title); /* makes no layer, but is counted */
    assert_string_equal(step_of(&one, WH_DF_COPY, 0)->title, "[3/4] COPY a /");
    assert_built(
        &named,
        "FROM scratch AS build\nFROM scratch\nENV A=b\nRUN echo \"$A\" '$A' $B\nCOPY \"$A\" /x\\ y/\n", NULL);
    assert_string_equal(step_of(&named, WH_DF_RUN, 0)->title, "[stage-1 1/2] RUN echo \"b\" '$A' $B");
    assert_string_equal(step_of(&named, WH_DF_COPY, 0)->title, "[stage-1 2/2] COPY b /x y/");
    assert_built(&mounted, "FROM scratch\nRUN --mount=type=tmpfs,target=/t run\n", NULL);
    assert_string_equal(step_of(&mounted, WH_DF_RUN, 0)->title,
                        "[stage-0 1/1] RUN --mount=type=tmpfs,target=/t run");
    assert_built(
        &ten, "FROM scratch\nRUN 1\nRUN 2\nRUN 3\nRUN 4\nRUN 5\nRUN 6\nRUN 7\nRUN 8\nRUN 9\nrun 10\n", NULL);
    assert_string_equal(step_of(&ten, WH_DF_RUN, 0)->title, "[ 1/10] RUN 1");
    assert_string_equal(step_of(&ten, WH_DF_RUN, 9)->title, "[10/10] RUN 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_what_is_needed),
                                       cmocka_unit_test(bases),
                                       cmocka_unit_test(froms),
                                       cmocka_unit_test(refusals),
                                       cmocka_unit_test(targets),
                                       cmocka_unit_test(platforms),
                                       cmocka_unit_test(image_triggers),
                                       cmocka_unit_test(stage_triggers),
                                       cmocka_unit_test(titles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
