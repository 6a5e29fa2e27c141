/* Every setting there is. What stands here is read, checked, printed, explained and given to editors. */
#include "wherry/config/settings.h"

#define FIELDS(table) .fields = (table), .nfields = WH_COUNT(table)

static const struct wh_setting string_item[] = {{.type = WH_SETTING_STRING}};
static const struct wh_setting path_item[] = {{.type = WH_SETTING_PATH}};

static const struct wh_setting service[] = {
    {.name = "url",
     .type = WH_SETTING_URL,
     .help = "Where runners register that name no url of their own: a repository, an organisation or\n"
             "https://HOST/enterprises/NAME"},
    {.name = "ca-file",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "Certificates to trust, PEM; unset: SSL_CERT_FILE, else the system's"},
    {.name = "runner-version",
     .type = WH_SETTING_STRING,
     .preset = "auto",
     .flags = WH_SETTING_RESTART,
     .help =
         "The runner version to name to the service; auto: the newest official release, asked once a day"},
};

static const struct wh_setting app[] = {
    {.name = "id",
     .type = WH_SETTING_STRING,
     .flags = WH_SETTING_REQUIRED,
     .help = "The app's id or client id"},
    {.name = "installation",
     .type = WH_SETTING_INT,
     .min = 1,
     .max = INT64_C(1) << 53,
     .help = "The installation's id; unset: the one of the runner's owner"},
    {.name = "key-file",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_REQUIRED,
     .help = "Its private key, PEM"},
};

static const struct wh_setting credential[] = {
    {.name = "token", .type = WH_SETTING_SECRET, .help = "A registration token: good for an hour"},
    {.name = "pat", .type = WH_SETTING_SECRET, .help = "A personal access token that may administer runners"},
    {.name = "app", .type = WH_SETTING_SECTION, .help = "A GitHub App", FIELDS(app)},
};
static const struct wh_setting credential_item[] = {{.type = WH_SETTING_SECTION, FIELDS(credential)}};

static const struct wh_setting runner[] = {
    {.name = "name",
     .type = WH_SETTING_NAME,
     .preset = "{host}",
     .help = "{host}, {index} and {arch} stand for the box's name, the number from 1 and X64, ARM64 or ARM"},
    {.name = "count",
     .type = WH_SETTING_INT,
     .preset = "1",
     .min = 0,
     .max = 1000,
     .help = "So many of them; -{index} is put after a name that lacks it"},
    {.name = "url", .type = WH_SETTING_URL, .help = "Where it registers; unset: service.url"},
    {.name = "credentials",
     .type = WH_SETTING_STRING,
     .help = "The name of an entry of credentials; unset: the only one there is"},
    {.name = "labels",
     .type = WH_SETTING_LIST,
     .help = "Besides self-hosted, Linux and X64, ARM64 or ARM",
     FIELDS(string_item)},
    {.name = "no-default-labels",
     .type = WH_SETTING_BOOL,
     .preset = "false",
     .help = "labels are all it has"},
    {.name = "group", .type = WH_SETTING_STRING, .help = "Its runner group; unset: the default one"},
    {.name = "ephemeral",
     .type = WH_SETTING_BOOL,
     .preset = "false",
     .help = "One job each; it registers anew when the agent starts"},
    {.name = "replace",
     .type = WH_SETTING_BOOL,
     .preset = "true",
     .help = "Takes the place of a runner of that name that the service knows and this box does not"},
    {.name = "work",
     .type = WH_SETTING_PATH,
     .help = "Its work folder (with `count`, that above theirs); unset: below STATE-work"},
    {.name = "job-user", .type = WH_SETTING_STRING, .help = "Who runs its jobs' steps; unset: jobs.user"},
};
static const struct wh_setting runner_item[] = {{.type = WH_SETTING_SECTION, FIELDS(runner)}};

static const struct wh_setting jobs[] = {
    {.name = "max",
     .type = WH_SETTING_INT,
     .min = 1,
     .max = 1000,
     .help = "Jobs that run at once on this box, of all its runners; unset: as many as there are processors, "
             "at least 4"},
    {.name = "user",
     .type = WH_SETTING_STRING,
     .flags = WH_SETTING_RESTART,
     .help = "Who runs the jobs' steps where the agent is root (name or number)"},
    {.name = "log-spool",
     .type = WH_SETTING_SIZE,
     .preset = "2g",
     .min = 16 << 20,
     .max = INT64_C(1) << 50,
     .help = "What the log of one job may take on disk while it waits for its upload"},
    {.name = "log-wait",
     .type = WH_SETTING_DURATION,
     .preset = "1m",
     .max = 86400,
     .help = "How long a step is held, in sum, while that is full; then lines are left out"},
};

static const struct wh_setting cache[] = {
    {.name = "max-size",
     .type = WH_SETTING_SIZE,
     .min = 1,
     .max = INT64_C(1) << 52,
     .help = "What the store of layers may take; unset: 80 % of its disk"},
    {.name = "min-free",
     .type = WH_SETTING_SIZE,
     .min = 1,
     .max = INT64_C(1) << 52,
     .help = "What stays free on that disk; unset: 10 % of it, at most 10g"},
};

static const char *const container_engines[] = {"builtin", "docker", NULL};
static const char *const container_networks[] = {"auto", "host", NULL};
static const struct wh_setting containers[] = {
    {.name = "engine",
     .type = WH_SETTING_CHOICE,
     .preset = "builtin",
     .choices = container_engines,
     .flags = WH_SETTING_RESTART,
     .help =
         "Who runs container:, services: and Docker actions: wherry itself, or the docker that is installed"},
    {.name = "network",
     .type = WH_SETTING_CHOICE,
     .preset = "auto",
     .choices = container_networks,
     .flags = WH_SETTING_RESTART,
     .help = "auto: a network of its own for each job, where the box allows that; host: the box's own"},
    {.name = "subnet",
     .type = WH_SETTING_STRING,
     .preset = "10.209.0.0/16",
     .flags = WH_SETTING_RESTART,
     .help =
         "The /16 that those networks take a /24 each of; nothing else that the box reaches may be in it"},
};

static const struct wh_setting hooks[] = {
    {.name = "job-started",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "A script (.sh, .ps1, .js) that runs before each job's steps; as "
             "ACTIONS_RUNNER_HOOK_JOB_STARTED"},
    {.name = "job-completed",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "The same after them; as ACTIONS_RUNNER_HOOK_JOB_COMPLETED"},
    {.name = "containers",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "A script that runs containers in wherry's stead, by the protocol of GitHub's container hooks;\n"
             "as ACTIONS_RUNNER_CONTAINER_HOOKS"},
    {.name = "require-job-container",
     .type = WH_SETTING_BOOL,
     .preset = "false",
     .flags = WH_SETTING_RESTART,
     .help = "Jobs without container: fail; as ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER"},
};

static const struct wh_setting actions[] = {
    {.name = "native-off",
     .type = WH_SETTING_LIST,
     .flags = WH_SETTING_RESTART,
     .help =
         "Actions that run as they are published, though wherry has them built in: owner/repo each, or all",
     FIELDS(string_item)},
    {.name = "map",
     .type = WH_SETTING_LIST,
     .flags = WH_SETTING_RESTART,
     .help = "Actions that lie on this box and are not fetched: owner/repo@ref=/folder each",
     FIELDS(string_item)},
    {.name = "archives",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "A folder with OWNER_REPO/COMMIT.tar.gz that is looked into before an action is fetched;\n"
             "as ACTIONS_RUNNER_ACTION_ARCHIVE_CACHE"},
    {.name = "externals",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "A folder with node20/bin/node, node24/bin/node for JavaScript actions; unset:\n"
             "/usr/lib/wherry/externals, else the node on PATH"},
    {.name = "node-mirror",
     .type = WH_SETTING_URL,
     .flags = WH_SETTING_RESTART,
     .help = "Where a Node.js that the box lacks is fetched from, laid out as nodejs.org/dist and verified "
             "by its\n"
             "SHASUMS256.txt; unset: it is not fetched"},
};

static const char *const cache_places[] = {"local", "github", NULL};
static const char *const artifact_places[] = {"auto", "local", "github", NULL};
static const struct wh_setting services[] = {
    {.name = "cache",
     .type = WH_SETTING_CHOICE,
     .preset = "local",
     .choices = cache_places,
     .flags = WH_SETTING_RESTART,
     .help =
         "Who keeps what actions/cache, setup actions and BuildKit's type=gha save: this box, in its store,\n"
         "or GitHub; with github, artifacts go there too"},
    {.name = "artifacts",
     .type = WH_SETTING_CHOICE,
     .preset = "auto",
     .choices = artifact_places,
     .flags = WH_SETTING_RESTART,
     .help = "Where uploaded artifacts go; auto: to GitHub, where the run's page shows them; local: they "
             "stay in\n"
             "this box's store, for jobs of the same run on this box alone"},
    {.name = "repository-max",
     .type = WH_SETTING_SIZE,
     .min = 1,
     .max = INT64_C(1) << 52,
     .flags = WH_SETTING_RESTART,
     .help = "What the saved caches of one repository may take; unset: what the store may (cache.max-size)"},
};

static const struct wh_setting registries[] = {
    {.name = "mirrors",
     .type = WH_SETTING_LIST,
     .flags = WH_SETTING_RESTART,
     .help =
         "Registries that are asked first for what is pulled: docker.io=mirror.example:5000 each, in order",
     FIELDS(string_item)},
    {.name = "insecure",
     .type = WH_SETTING_LIST,
     .flags = WH_SETTING_RESTART,
     .help = "Registries whose certificate is not verified, and that are asked by plain HTTP where they have "
             "none: host[:port] each",
     FIELDS(string_item)},
    {.name = "ca",
     .type = WH_SETTING_PATH,
     .flags = WH_SETTING_RESTART,
     .help = "A PEM file of authorities that builds trust beside the system's; it must be readable for all"},
};

static const struct wh_setting network[] = {
    {.name = "https-proxy",
     .type = WH_SETTING_URL,
     .flags = WH_SETTING_RESTART,
     .help = "As https_proxy of the environment, which it replaces; jobs get it too"},
    {.name = "http-proxy", .type = WH_SETTING_URL, .flags = WH_SETTING_RESTART, .help = "As http_proxy"},
    {.name = "no-proxy",
     .type = WH_SETTING_LIST,
     .flags = WH_SETTING_RESTART,
     .help = "As no_proxy: hosts that are asked directly, host[:port] or .domain",
     FIELDS(string_item)},
};

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const struct wh_setting logs[] = {
    {.name = "level",
     .type = WH_SETTING_CHOICE,
     .preset = "info",
     .choices = log_levels,
     .help = "What the agent's own log says"},
};

static const struct wh_setting root[] = {
    {.name = "include",
     .type = WH_SETTING_LIST,
     .help = "Further files, read before this one; * and ? match names",
     FIELDS(path_item)},
    {.name = "service",
     .type = WH_SETTING_SECTION,
     .help = "GitHub, or a GitHub Enterprise Server",
     FIELDS(service)},
    {.name = "credentials",
     .type = WH_SETTING_MAP,
     .help = "What runners register with, by a name of your choice: a token, a pat or an app each",
     FIELDS(credential_item)},
    {.name = "runners",
     .type = WH_SETTING_LIST,
     .flags = WH_SETTING_GROWS,
     .help = "The runners of this box: they register when the agent starts",
     FIELDS(runner_item)},
    {.name = "jobs", .type = WH_SETTING_SECTION, .help = "What jobs may do", FIELDS(jobs)},
    {.name = "containers", .type = WH_SETTING_SECTION, .help = "Containers of jobs", FIELDS(containers)},
    {.name = "actions", .type = WH_SETTING_SECTION, .help = "Actions of jobs", FIELDS(actions)},
    {.name = "hooks", .type = WH_SETTING_SECTION, .help = "Programs of your own around jobs", FIELDS(hooks)},
    {.name = "cache", .type = WH_SETTING_SECTION, .help = "The store of layers", FIELDS(cache)},
    {.name = "services",
     .type = WH_SETTING_SECTION,
     .help = "Caches and artifacts of jobs",
     FIELDS(services)},
    {.name = "registries",
     .type = WH_SETTING_SECTION,
     .help = "Registries of images, for builds and containers",
     FIELDS(registries)},
    {.name = "network", .type = WH_SETTING_SECTION, .help = "Ways out", FIELDS(network)},
    {.name = "log",
     .type = WH_SETTING_SECTION,
     .help = "The agent's own log (journald has it)",
     FIELDS(logs)},
};

const struct wh_setting wh_settings_schema = {.type = WH_SETTING_SECTION, FIELDS(root)};
