/* docker/setup-qemu-action v2 to v4 (actions.md §7). Emulators are registered with the kernel by the
 * machine's operator, once, and no job has the right to: so the action tells what is there, and what to
 * install for the rest. */
#include "actions/buildx.h"
#include "actions/list.h"
#include "actions/lists.h"
#include "wherry/oci/reference.h"
#include "wherry/platform/binfmt.h"

#define WHERRY_BINFMT_DIR "WHERRY_BINFMT_DIR" /* for tests: another folder of entries */

static const struct wh_action_input inputs[] = {
    {.name = "image", .default_value = "docker.io/tonistiigi/binfmt:latest"},
    {.name = "platforms", .default_value = "all"},
    {.name = "cache-image", .default_value = "true", .min_major = 3},
    {.name = "reset", .default_value = "false", .min_major = 4},
};

static const char *binfmt_dir(void)
{
    const char *dir = wh_action_env(WHERRY_BINFMT_DIR);
    return dir[0] ? dir : NULL;
}

static int read_flags(struct wh_action_run *run, struct wh_error *err)
{
    bool reset = false, ignored;
    int major = wh_action_version(run)->major;
    if ((major >= 4 && wh_action_input_bool(run, "reset", &reset, err) < 0) ||
        (major >= 3 && wh_action_input_bool(run, "cache-image", &ignored, err) < 0))
        return -1;
    if (reset)
        wh_action_notice(
            "Input 'reset' is without effect: emulators belong to the machine, a job does not remove them");
    return 0;
}

/* 0: this machine runs it; 1: it does not, and why is appended to problems. */
static int check(const char *name, char ***problems)
{
    static const char *const reasons[] = {
        [WH_BINFMT_NONE] = "no emulator is registered",
        [WH_BINFMT_DISABLED] = "its emulator is switched off",
        [WH_BINFMT_OUTSIDE] =
            "its emulator is registered without the flag F, so that containers don't find it",
        [WH_BINFMT_READY] = "",
    };
    struct wh_platform host, wanted;
    wh_autoerror err = {0};
    wh_platform_host(&host);
    if (wh_platform_parse(name, &wanted, &err) < 0) {
        wh_strv_take(problems, wh_printf("%s: %s", name, wh_error_text(&err)));
        return 1;
    }
    if (wh_platform_rank(&wanted, &host) >= 0 || wh_streq(wanted.arch, host.arch))
        return 0;
    enum wh_binfmt_state state = wh_binfmt_state(binfmt_dir(), wanted.arch);
    if (state != WH_BINFMT_READY)
        wh_strv_take(problems, wh_printf("%s: %s", name, reasons[state]));
    return state != WH_BINFMT_READY;
}

static int check_wanted(struct wh_action_run *run, struct wh_error *err)
{
    wh_autostrv char **wanted = wh_input_list(wh_action_input(run, "platforms"), WH_LIST_CSV),
                     **problems = NULL;
    for (char **w = wanted; w && *w; w++)
        if (!wh_streq(*w, "all"))
            check(*w, &problems);
    if (!problems)
        return 0;
    wh_autofree char *list = wh_strv_join(problems, "; ");
    return wh_fail(err, WH_E_UNSUPPORTED,
                   "This machine can't run programs for %s. Its operator installs emulators: apt-get install "
                   "qemu-user-static binfmt-support (jobs have no right to)",
                   list);
}

static int stage_main(struct wh_action_run *run)
{
    wh_autoerror err = {0};
    if (read_flags(run, &err) < 0)
        return wh_action_fail(&err);
    wh_action_group("Docker info");
    wh_action_print("wherry " WH_VERSION " builds images itself: no Docker engine is asked");
    wh_action_group_end();
    wh_action_group("Extracting available platforms");
    wh_autostrv char **platforms = NULL, **ready = wh_binfmt_ready(binfmt_dir());
    wh_strv_add(&platforms, wh_buildx_platform());
    for (char **r = ready; r && *r; r++) {
        wh_autofree char *name = wh_printf("linux/%s", *r);
        if (!wh_streq(name, platforms[0]))
            wh_strv_add(&platforms, name);
    }
    wh_autofree char *list = wh_strv_join(platforms, ",");
    wh_action_print("%s", list);
    wh_action_group_end();
    if (wh_action_set_output(run, "platforms", list, &err) < 0 || check_wanted(run, &err) < 0)
        return wh_action_fail(&err);
    return 0;
}

static int stage_post(struct wh_action_run *run)
{
    (void)run;
    wh_action_group("Post cache");
    wh_action_print("State not set");
    wh_action_group_end();
    return 0;
}

const struct wh_action wh_action_setup_qemu = {
    .repository = "docker/setup-qemu-action",
    .min_major = 2,
    .max_major = 4,
    .inputs = inputs,
    .ninputs = WH_COUNT(inputs),
    .main = stage_main,
    .post = stage_post,
};
