/* One stage resolved: scopes, RUN and COPY as a solver gets them, config edits, history texts (builder.md
 * §1.3-1.6, §5). */
#include "stages.h"

static void argument_scopes(void **state)
{
    (void)state;
    char *const args[] = {"GIVEN=cli", "UNDECLARED=x", NULL};
    autobuilt b = {.options.build_args = args};
    assert_built(
        &b,
        "ARG TOP=t\nFROM scratch AS base\nARG GIVEN=d\nARG TOP\nARG HERE=$GIVEN-$TOP\nARG BARE\nRUN a\n"
        "FROM base\nRUN b $HERE\nFROM scratch\nRUN c\nFROM base\nRUN d\n",
        NULL);
    assert_string_equal(history(&b, 0), "ARG GIVEN=cli");
    assert_string_equal(history(&b, 2), "ARG HERE=cli-t");
    assert_string_equal(history(&b, 3), "ARG BARE");
    assert_string_equal(history(&b, 4), "RUN |4 GIVEN=cli TOP=t HERE=cli-t BARE= /bin/sh -c a # buildkit");
    assert_string_equal(history(&b, 5), "RUN |4 GIVEN=cli TOP=t HERE=cli-t BARE= /bin/sh -c d # buildkit");
    assert_string_equal(wh_env_get(step_of(&b, WH_DF_RUN, 0)->env, "HERE"), "cli-t");
    assert_null(wh_env_get(step_of(&b, WH_DF_RUN, 0)->env, "UNDECLARED"));
    assert_null(wh_env_get(step_of(&b, WH_DF_RUN, 0)->env, "BARE"));
}

/* The later line wins for RUN and expansion; the config keeps ENV's; a stage on top sees ENV's again. */
static void arg_and_env_of_one_name(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b, "FROM scratch AS a\nENV X=e\nARG X=a\nRUN one\nLABEL l=$X\nFROM a\nRUN two\n", NULL);
    assert_string_equal(wh_env_get(b.results[0]->steps[3].env, "X"), "a");
    assert_string_equal(wh_env_get(step_of(&b, WH_DF_RUN, 0)->env, "X"), "e");
    assert_config(&b, "Labels", "{\"l\":\"a\"}");
    assert_config(&b, "Env", "[\"PATH=" WH_DF_DEFAULT_PATH "\",\"X=e\"]");
    assert_string_equal(history(&b, 4), "RUN |1 X=e /bin/sh -c two # buildkit");
}

static void one_line_sees_one_environment(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b, "FROM scratch\nENV a=0\nENV a=1 b=$a $a=k\nARG P=1 Q=$P\nLABEL $b=${Q}\nRUN x\n", NULL);
    assert_string_equal(history(&b, 1), "ENV a=1 b=0 0=k");
    assert_string_equal(history(&b, 2), "ARG P=1 Q=1");
    assert_string_equal(history(&b, 3), "LABEL 0=1");
}

static void env_order(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b, "FROM scratch\nENV A=1 B=2\nENV A=3\nRUN x\n", NULL);
    assert_config(&b, "Env", "[\"PATH=" WH_DF_DEFAULT_PATH "\",\"A=3\",\"B=2\"]"); /* in the first's place */
    wh_autofree char *env = wh_strv_join(step_of(&b, WH_DF_RUN, 0)->env, ";");
    assert_string_equal(env, "PATH=" WH_DF_DEFAULT_PATH ";B=2;A=3"); /* by last assignment */
}

static void proxies(void **state)
{
    (void)state;
    char *const args[] = {"https_proxy=http://p:1", "NO_PROXY=", NULL};
    autobuilt b = {.options.build_args = args};
    assert_built(&b, "FROM scratch\nRUN x\n", NULL);
    wh_autofree char *proxy = wh_strv_join(step_of(&b, WH_DF_RUN, 0)->proxy, ";");
    assert_string_equal(proxy, "HTTPS_PROXY=http://p:1;https_proxy=http://p:1");
    assert_null(wh_env_get(step_of(&b, WH_DF_RUN, 0)->env, "https_proxy"));
    assert_string_equal(history(&b, 0), "RUN /bin/sh -c x # buildkit");
}

static void run_forms(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(
        &b,
        "FROM scratch\nRUN a  b\nRUN [\"x\", \"$y z\"]\nRUN <<EOF\nl1\nl2\nEOF\nRUN <<-EOF cat\n\tt\n\tEOF\n"
        "RUN <<-'S'\n\t#!/bin/x\n\tbody\nS\nSHELL [\"/bin/bash\", \"-ec\"]\nRUN last\nRUN []\n",
        NULL);
    static const char *const want[] = {"/bin/sh|-c|a  b",
                                       "x|$y z",
                                       "/bin/sh|-c|l1\nl2\n",
                                       "/bin/sh|-c|<<-EOF cat\n\tt\nEOF",
                                       "/bin/sh|-c|/dev/pipes/S",
                                       "/bin/bash|-ec|last",
                                       ""};
    for (size_t i = 0; i < WH_COUNT(want); i++) {
        wh_autofree char *argv = wh_strv_join(step_of(&b, WH_DF_RUN, i)->argv, "|");
        assert_string_equal(argv, want[i]);
    }
    assert_null(step_of(&b, WH_DF_RUN, 2)->script.name);
    assert_string_equal(step_of(&b, WH_DF_RUN, 4)->script.name, "S");
    assert_string_equal(step_of(&b, WH_DF_RUN, 4)->script.content, "#!/bin/x\nbody\n");
    assert_string_equal(history(&b, 1), "RUN x $y z # buildkit");
    assert_string_equal(history(&b, 5), "SHELL [/bin/bash -ec]");
    assert_string_equal(step_of(&b, WH_DF_RUN, 2)->text, "RUN <<EOF (l1...)");
}

static void mounts(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(
        &b,
        "FROM scratch AS src\nFROM scratch\nENV D=/deep\nWORKDIR /w\n"
        "RUN --mount=target=. --mount=type=cache,target=$D/../c "
        "--mount=type=cache,target=rel,id=x,sharing=locked,uid=5 "
        "--mount=type=tmpfs,target=/t,size=64m --mount=type=secret,id=tok --mount=type=secret,id=e,env=E "
        "--mount=type=secret,target=/s/k,mode=0440,required --mount=from=src,source=a/..,target=/b,rw "
        "--mount=type=bind,from=img,src=/z,dst=/y true\n",
        NULL);
    const struct wh_df_mount *m = step_of(&b, WH_DF_RUN, 0)->mounts;
    assert_int_equal(step_of(&b, WH_DF_RUN, 0)->nmounts, 9);
    assert_string_equal(m[0].target, "/w");
    assert_int_equal(m[0].from.kind, WH_DF_SOURCE_CONTEXT);
    assert_true(m[0].read_only);
    assert_string_equal(m[1].target, "/c");
    assert_string_equal(m[1].id, "/c");
    assert_false(m[1].read_only);
    assert_int_equal(m[1].mode, 0755);
    assert_string_equal(m[2].target, "/w/rel");
    assert_string_equal(m[2].id, "x");
    assert_int_equal(m[2].sharing, WH_DF_LOCKED);
    assert_true(m[2].has_uid && m[2].uid == 5);
    assert_int_equal(m[3].size, 64 << 20);
    assert_string_equal(m[4].target, "/run/secrets/tok");
    assert_int_equal(m[4].mode, 0400);
    assert_null(m[5].target);
    assert_string_equal(m[5].env, "E");
    assert_string_equal(m[6].id, "k");
    assert_true(m[6].required && m[6].mode == 0440);
    assert_int_equal(m[7].from.kind, WH_DF_SOURCE_STAGE);
    assert_string_equal(m[7].source, "");
    assert_false(m[7].read_only);
    assert_int_equal(m[8].from.kind, WH_DF_SOURCE_IMAGE);
    assert_string_equal(m[8].source, "/z");
}

static void mount_errors(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"type=foo,target=/x", "unsupported mount type \"foo\""},
        {"type=cach,target=/x", "unsupported mount type \"cach\" (did you mean cache?)"},
        {"type=bind,target=/x,foo=1", "unexpected key 'foo' in 'foo=1' (did you mean from?)"},
        {"foo", "invalid field 'foo' must be a key=value pair"},
        {"type=bind,target=/x,required", "unexpected key 'required' for mount type 'bind'"},
        {"required,type=secret,id=a", "unexpected key 'required' for mount type 'bind'"},
        {"type=bind,target=/x,size=1", "unexpected key 'size' for mount type 'bind'"},
        {"type=cache,target=/x,sharing=some", "unsupported sharing value \"some\""},
        {"type=bind,target=/x,sharing=locked", "invalid cache sharing set for bind mount"},
        {"type=bind,target=/x,mode=0755", "mode not allowed for \"bind\" type mounts"},
        {"type=tmpfs,target=/x,uid=1", "uid not allowed for \"tmpfs\" type mounts"},
        {"type=cache,target=/x,mode=9", "invalid value 9 for mode"},
        {"type=cache,target=/x,uid=-1", "invalid value -1 for uid"},
        {"type=bind,target=/x,ro=perhaps", "invalid value for ro: perhaps"},
        {"type=secret", "invalid secret mount. one of source, target required"},
        {"type=secret,id=a,source=b", "both source and id can't be set"},
        {"type=secret,id=a,from=b", "secret mount should not have a from"},
        {"type=secret,id=a,sharing=locked", "secret mount should not define sharing"},
        {"type=tmpfs,target=/", "invalid mount target \"/\""},
        {"type=tmpfs,target=/x/..", "invalid mount target \"/\""}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        wh_autofree char *text = wh_printf("FROM scratch\nRUN --mount=%s true\n", cases[i][0]);
        assert_refused(text, cases[i][1], 2);
    }
}

static void copies(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(
        &b,
        "FROM scratch\nENV V=val O=7\nWORKDIR /w\nCOPY --chown=$O:8 --chmod=0${O}55 $V b* ./\n"
        "COPY --link --exclude=*.o a /x/../y/.\nCOPY <<a.txt <<'b.txt' d/\n$V \\$V \"q\"\na.txt\n$V\nb.txt\n"
        "ADD --unpack=false x.tar .\nCOPY a b\nCOPY a /\n",
        NULL);
    const struct wh_df_step *s = step_of(&b, WH_DF_COPY, 0);
    assert_int_equal(s->nsources, 2);
    assert_string_equal(s->sources[0].path, "val");
    assert_string_equal(s->sources[1].path, "b*");
    assert_string_equal(s->dest, "/w/");
    assert_string_equal(s->chown, "7:8");
    assert_int_equal(s->chmod.octal, 0755);
    assert_true(s->layer);
    assert_string_equal(s->created_by, "COPY --chown=7:8 --chmod=0755 val b* ./ # buildkit");
    assert_string_equal(step_of(&b, WH_DF_COPY, 1)->dest, "/y/");
    assert_string_equal(step_of(&b, WH_DF_COPY, 1)->created_by, "COPY a /x/../y/. # buildkit");
    s = step_of(&b, WH_DF_COPY, 2);
    assert_int_equal(s->nfiles, 2);
    assert_string_equal(s->files[0].content, "val $V \"q\"\n");
    assert_string_equal(s->files[1].content, "$V\n");
    assert_string_equal(s->created_by, "COPY <<a.txt <<b.txt d/ # buildkit");
    assert_string_equal(step_of(&b, WH_DF_ADD, 0)->dest, "/w/");
    assert_string_equal(step_of(&b, WH_DF_COPY, 3)->dest, "/w/b");
    assert_string_equal(step_of(&b, WH_DF_COPY, 4)->dest, "/");
}

static void copy_errors(void **state)
{
    (void)state;
    assert_refused("FROM scratch\nCOPY --chmod=99 a /\n",
                   "invalid chmod parameter: '99'. it should be octal string and between 0 and 07777", 2);
    assert_refused("FROM scratch\nCOPY https://x.org/y /\n", "source can't be a URL for COPY", 2);
    assert_refused("FROM scratch\nCOPY https://x.org/y.git /\n", "source can't be a git ref for COPY", 2);
    assert_refused("FROM scratch\nADD --checksum=sha256:aa a /\n", "checksum requires HTTP(S) or Git sources",
                   2);
    assert_refused("FROM scratch\nADD --checksum=sha256:aa http://a http://b /\n",
                   "checksum can't be specified for multiple sources", 2);
    assert_refused("FROM scratch\nCOPY <<a/b /x\ny\na/b\n",
                   "the heredoc's name `a/b` must be a file name: a file of that name is made of it", 2);
    assert_refused("FROM scratch\nCOPY ${a /\n",
                   "failed to process \"${a\": unsupported modifier (\xef\xbf\xbd) in substitution", 2);
}

static void workdirs(void **state)
{
    (void)state;
    autobuilt b = {0};
    assert_built(&b, "FROM img\nWORKDIR x/$A\nWORKDIR ../y\nWORKDIR /\nWORKDIR /a/./b/\nUSER u:g\nRUN z\n",
                 "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"WorkingDir\":\"/"
                 "base\",\"Env\":[\"A=1\"],\"User\":\"9\"}}");
    assert_string_equal(history(&b, 0), "WORKDIR /base/x/1");
    assert_string_equal(history(&b, 1), "WORKDIR /base/x/y");
    assert_string_equal(history(&b, 2), "WORKDIR /");
    assert_string_equal(history(&b, 3), "WORKDIR /a/b");
    assert_false(target(&b)->history[1].empty_layer);
    assert_true(target(&b)->history[2].empty_layer);
    assert_string_equal(step_of(&b, WH_DF_WORKDIR, 0)->user, "9");
    assert_string_equal(step_of(&b, WH_DF_RUN, 0)->user, "u:g");
    assert_string_equal(step_of(&b, WH_DF_RUN, 0)->cwd, "/a/b");
    assert_config(&b, "User", "\"u:g\"");
    assert_config(&b, "WorkingDir", "\"/a/b\"");
    assert_config(&b, "Env", "[\"A=1\",\"PATH=" WH_DF_DEFAULT_PATH "\"]");
}

static void commands(void **state)
{
    (void)state;
    static const char base[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"old\"],\"Entrypoint\":[\"e\"]}}";
    autobuilt cleared = {0}, kept = {0}, none = {0};
    assert_built(&cleared, "FROM x\nENTRYPOINT a \"b\"\n", base);
    assert_config(&cleared, "Entrypoint", "[\"/bin/sh\",\"-c\",\"a \\\"b\\\"\"]");
    assert_config(&cleared, "Cmd", "");
    assert_config(&cleared, "ArgsEscaped", "");
    assert_string_equal(history(&cleared, 0), "ENTRYPOINT [\"/bin/sh\" \"-c\" \"a \\\"b\\\"\"]");
    assert_built(&kept, "FROM x\nCMD [\"new\", \"b c\"]\nENTRYPOINT [\"a\"]\n", base);
    assert_config(&kept, "Cmd", "[\"new\",\"b c\"]");
    assert_config(&kept, "ArgsEscaped", "true");
    assert_string_equal(history(&kept, 0), "CMD [\"new\" \"b c\"]");
    assert_built(&none, "FROM x\nCMD []\nENTRYPOINT []\n", base);
    assert_config(&none, "Cmd", "");
    assert_config(&none, "Entrypoint", "");
    assert_string_equal(history(&none, 0), "CMD []");
}

static void metadata(void **state)
{
    (void)state;
    char *const labels[] = {"k=cli", "new=1", NULL};
    autobuilt b = {.options.labels = labels};
    assert_built(
        &b,
        "FROM scratch\nENV P=8000-8001/UDP\nEXPOSE 80 $P 53/udp 80\nVOLUME /b /a$P\nLABEL k=v \"x y\"=z\n"
        "HEALTHCHECK --interval=5s --retries=3 CMD x\nHEALTHCHECK NONE\nSTOPSIGNAL SIGRTMIN+3\nMAINTAINER Me "
        "<m@x>\n"
        "ONBUILD RUN y\nENV A a b\n",
        NULL);
    assert_string_equal(history(&b, 1), "EXPOSE [8000/udp 8001/udp 53/udp 80/tcp 80/tcp]");
    assert_config(&b, "ExposedPorts", "{\"8000/udp\":{},\"8001/udp\":{},\"53/udp\":{},\"80/tcp\":{}}");
    assert_string_equal(history(&b, 2), "VOLUME [/b /a8000-8001/UDP]");
    assert_config(&b, "Labels", "{\"x y\":\"z\",\"k\":\"cli\",\"new\":\"1\"}");
    assert_string_equal(
        history(&b, 4),
        "HEALTHCHECK {Test:[CMD-SHELL x] Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}");
    assert_config(&b, "Healthcheck", "{\"Test\":[\"NONE\"]}");
    assert_config(&b, "StopSignal", "\"SIGRTMIN+3\"");
    assert_string_equal(wh_json_string(target(&b)->config, "author"), "Me <m@x>");
    assert_config(&b, "OnBuild", "[\"RUN y\"]");
    assert_string_equal(history(&b, 8), "ENV A=a b");
    assert_int_equal(target(&b)->nhistory, 9); /* ONBUILD has none */
}

static void metadata_errors(void **state)
{
    (void)state;
    assert_refused("FROM scratch\nSTOPSIGNAL FOO\n", "invalid signal: FOO", 2);
    assert_refused("FROM scratch\nSTOPSIGNAL 0\n", "invalid signal: 0", 2);
    assert_refused("FROM scratch\nSTOPSIGNAL RTMIN+16\n", "invalid signal: RTMIN+16", 2);
    assert_refused("FROM scratch\nEXPOSE abc\n", "invalid containerPort: abc", 2);
    assert_refused("FROM scratch\nEXPOSE 70000\n", "invalid containerPort: 70000", 2);
    assert_refused("FROM scratch\nEXPOSE 9-8\n", "invalid containerPort: 9-8", 2);
    assert_refused("FROM scratch\nEXPOSE 80/foo\n", "invalid port: \"80/foo\": invalid proto: foo", 2);
    assert_refused("FROM scratch\nEXPOSE 1.2.3:1:80\n", "invalid IP address: 1.2.3", 2);
    assert_refused("FROM scratch\nEXPOSE x:80\n", "invalid hostPort: x", 2);
    assert_refused("FROM scratch\nVOLUME $NONE\n", "VOLUME specified can not be an empty string", 2);
    assert_refused(
        "FROM scratch\nVOLUME \"/a b\"\n",
        "failed to process \"\\\"/a\": unexpected end of statement while looking for matching double-quote",
        2);
}

static bool warned(const struct built *b, const char *rule)
{
    for (size_t i = 0; i < target(b)->nwarnings; i++)
        if (strcmp(target(b)->warnings[i].rule, rule) == 0)
            return true;
    for (size_t i = 0; i < b->df->nwarnings; i++)
        if (strcmp(b->df->warnings[i].rule, rule) == 0)
            return true;
    return false;
}

static void lint(void **state)
{
    (void)state;
    autobuilt b = {0}, clean = {0};
    assert_built(&b,
                 "FROM --platform=linux/amd64 x$WHAT\nWORKDIR rel\nENV A b\nENV API_KEY=x\nCMD a\nCMD "
                 "b\nEXPOSE 1.2.3.4:80:80 81/TCP\n"
                 "COPY $UNDEFINED /\n",
                 NULL);
    static const char *const rules[] = {"WorkdirRelativePath",
                                        "LegacyKeyValueFormat",
                                        "SecretsUsedInArgOrEnv",
                                        "JSONArgsRecommended",
                                        "MultipleInstructionsDisallowed",
                                        "ExposeInvalidFormat",
                                        "ExposeProtoCasing",
                                        "UndefinedVar",
                                        "UndefinedArgInFrom",
                                        "FromPlatformFlagConstDisallowed"};
    for (size_t i = 0; i < WH_COUNT(rules); i++)
        if (!warned(&b, rules[i]))
            fail_msg("%s is not found", rules[i]);
    assert_built(&clean,
                 "ARG V=1\nFROM --platform=$BUILDPLATFORM x:$V\nARG V\nARG OPT\nWORKDIR /a\nENV A=b "
                 "PUBLIC_KEY=x TOKENS=1\n"
                 "CMD [\"a\"]\nEXPOSE 80\nCOPY $V$OPT$A /\n",
                 NULL);
    assert_int_equal(target(&clean)->nwarnings, 0);
    assert_int_equal(clean.df->nwarnings, 0);
}

static void symbolic_modes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        unsigned from;
        bool dir;
        unsigned to;
    } cases[] = {{"u+x", 0644, false, 0744},         {"+x", 0644, false, 0755},
                 {"a-w", 0666, false, 0444},         {"go=", 0777, false, 0700},
                 {"u=rw,go=r", 0777, false, 0644},   {"u=rwX,go=rX", 0600, false, 0644},
                 {"u=rwX,go=rX", 0700, false, 0755}, {"a=rX", 0, true, 0555},
                 {"g=u", 0740, false, 0770},         {"o=g-w", 0760, false, 0764},
                 {"u+s,g+s", 0755, false, 06755},    {"+t", 0755, true, 01755},
                 {"ug+rw", 0, false, 0660},          {"0755", 0600, false, 0755},
                 {"7777", 0, false, 07777},          {"u+x-w", 0644, false, 0544}};
    for (size_t i = 0; i < WH_COUNT(cases); i++) {
        struct wh_df_chmod c = {0};
        assert_int_equal(wh_df_chmod_parse(cases[i].text, &c, NULL), 0);
        unsigned got = wh_df_chmod_apply(&c, cases[i].from, cases[i].dir);
        if (got != cases[i].to)
            fail_msg("%s on %o gave %o, not %o", cases[i].text, cases[i].from, got, cases[i].to);
        free(c.text);
    }
    static const char *const bad[] = {"",     "x",    "8",       "10000", "u",  "u+q",
                                      "u+x,", ",u+x", "u+x;g+x", "-1",    "0x1"};
    for (size_t i = 0; i < WH_COUNT(bad); i++) {
        struct wh_df_chmod c = {0};
        if (wh_df_chmod_parse(bad[i], &c, NULL) == 0)
            fail_msg("%s was taken", bad[i]);
    }
}

static void limits(void **state)
{
    (void)state;
    wh_autostr text = {0};
    autobuilt fits = {0}, past = {0};
    wh_str_add(&text, "FROM scratch\nENV");
    for (int i = 1; i < WH_MAX_STAGE_VARIABLES; i++) /* PATH is one too */
        wh_str_addf(&text, " V%d=1%s", i, i % 1000 ? "" : " \\\n");
    assert_built(&fits, wh_str_text(&text), NULL);
    wh_str_add(&text, " W=1\n");
    assert_true(build_all(&past, wh_str_text(&text), NULL) < 0);
    assert_int_equal(past.error.code, WH_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(argument_scopes),
                                       cmocka_unit_test(arg_and_env_of_one_name),
                                       cmocka_unit_test(one_line_sees_one_environment),
                                       cmocka_unit_test(env_order),
                                       cmocka_unit_test(proxies),
                                       cmocka_unit_test(run_forms),
                                       cmocka_unit_test(mounts),
                                       cmocka_unit_test(mount_errors),
                                       cmocka_unit_test(copies),
                                       cmocka_unit_test(copy_errors),
                                       cmocka_unit_test(workdirs),
                                       cmocka_unit_test(commands),
                                       cmocka_unit_test(metadata),
                                       cmocka_unit_test(metadata_errors),
                                       cmocka_unit_test(lint),
                                       cmocka_unit_test(symbolic_modes),
                                       cmocka_unit_test(limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
