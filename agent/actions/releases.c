/* Commits of released actions (facts of the public repositories: `git ls-remote --tags`), for workflows that
 * pin a commit. */
#include "actions/releases.h"

#include "wherry/base/str.h"

struct release {
    const char *commit;
    const char *tag;
};

static const struct release checkout[] = {
    {"a12a3943b4bdde767164f792f33f40b04645d846", "v3.0.0"},
    {"dcd71f646680f2efd8db4afa5ad64fdcba30e748", "v3.0.1"},
    {"2541b1294d2704b0964813337f33b291d3f8596b", "v3.0.2"},
    {"93ea575cb5d8a053eaa0ac8fa3b40d7e05a33cc8", "v3.1.0"},
    {"755da8c3cf115ac066823e79a1e1788f8940201b", "v3.2.0"},
    {"ac593985615ec2ede58e132d2e21d2b1cbd6127c", "v3.3.0"},
    {"24cb9080177205b6e8c946b17badbe402adc938f", "v3.4.0"},
    {"8f4b7f84864484a7bf31766abe9204da3cbe65b3", "v3.5.0"},
    {"83b7061638ee4956cf7545a6f7efe594e5ad0247", "v3.5.1"},
    {"8e5e7e5ab8b370d6c329ec480221332ada57f0ab", "v3.5.2"},
    {"c85c95e3d7251135ab7dc9ce3241c5835cc595a9", "v3.5.3"},
    {"f43a0e5ff2bd294095638e18286ca9a3d1956744", "v3.6.0"},
    {"a37ce9120846195fa4ece8f58b268e6043cb2f26", "v3.7.0"},
    {"1e31de5234b9f8995739874a8ce0492dc87873e2", "v4.0.0"},
    {"8ade135a41bc03ea155e62e844d188df1ea18608", "v4.1.0"},
    {"b4ffde65f46336ab88eb53be808477a3936bae11", "v4.1.1"},
    {"9bb56186c3b09b4f86b1c65136769dd318469633", "v4.1.2"},
    {"1d96c772d19495a3b5c517cd2bc0cb401ea0529f", "v4.1.3"},
    {"0ad4b8fadaa221de15dcec353f45205ec38ea70b", "v4.1.4"},
    {"44c2b7a8a4ea60a981eaca3cf939b5f4305c123b", "v4.1.5"},
    {"a5ac7e51b41094c92402da3b24376905380afc29", "v4.1.6"},
    {"692973e3d937129bcbf40652eb9f2f61becf3332", "v4.1.7"},
    {"d632683dd7b4114ad314bca15554477dd762a938", "v4.2.0"},
    {"eef61447b9ff4aafe5dcd4e0bbf5d482be7e7871", "v4.2.1"},
    {"11bd71901bbe5b1630ceea73d27597364c9af683", "v4.2.2"},
    {"08eba0b27e820071cde6df949e0beb9ba4906955", "v4.3.0"},
    {"34e114876b0b11c390a56381ad16ebd13914f8d5", "v4.3.1"},
    {"11d5960a326750d5838078e36cf38b85af677262", "v4.4.0"},
    {"08c6903cd8c0fde910a37f88322edcfb5dd907a8", "v5.0.0"},
    {"93cb6efe18208431cddfb8368fd83d5badbf9bfd", "v5.0.1"},
    {"fbc6f3992d24b796d5a048ff273f7fcc4a7b6c09", "v5.1.0"},
    {"1af3b93b6815bc44a9784bd300feb67ff0d1eeb3", "v6.0.0"},
    {"8e8c483db84b4bee98b60c0593521ed34d9990e8", "v6.0.1"},
    {"de0fac2e4500dabe0009e67214ff5f5447ce83dd", "v6.0.2"},
    {"df4cb1c069e1874edd31b4311f1884172cec0e10", "v6.0.3"},
    {"d23441a48e516b6c34aea4fa41551a30e30af803", "v6.1.0"},
    {"9c091bb21b7c1c1d1991bb908d89e4e9dddfe3e0", "v7.0.0"},
    {"3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"},
};

static const struct release build_push[] = {
    {"3b5e8027fcad23fda98b2e3ac259d8d67585f671", "v4.0.0"},
    {"44ea916f6c540f9302d50c2b1e5a8dc071f15cdf", "v4.1.0"},
    {"2eb1c1961a95fc15694676618e422e8ba1d63825", "v4.1.1"},
    {"4e4ee680f69700760d5620a94c020aef883043aa", "v4.2.0"},
    {"0a97817b6ade9f46837855d676c4cca3a2471fc9", "v4.2.1"},
    {"0565240e2d4ab88bba5387d719585280857ece09", "v5.0.0"},
    {"4a13e500e55cf31b7a5d59a38ab2040ab0f42f56", "v5.1.0"},
    {"af5a7ed5ba88268d5278f7203fb52cd833f66d6e", "v5.2.0"},
    {"2cdde995de11925a030ce8070c3d77a52ffcf1c0", "v5.3.0"},
    {"ca052bb54ab0790a636c9b5f226502c73d547a25", "v5.4.0"},
    {"c382f710d39a5bb4e430307530a720f50c2d3318", "v6.0.0"},
    {"94f8f8c2eec4bc3f1d78c1755580779804cb87b2", "v6.0.1"},
    {"f6010ea70151369b06f0194be1051fbbdff851b2", "v6.0.2"},
    {"31159d49c0d4756269a0940a750801a1ea5d7003", "v6.1.0"},
    {"15560696de535e4014efeff63c48f16952e52dd1", "v6.2.0"},
    {"1a162644f9a7e87d8f4b053101d1d9a712edc18c", "v6.3.0"},
    {"a254f8ca60a858f3136a2f1f23a60969f2c402dd", "v6.4.0"},
    {"1ca370b3a9802c92e886402e0dd88098a2533b12", "v6.4.1"},
    {"5176d81f87c23d6fc96624dfdbcd9f3830bbe445", "v6.5.0"},
    {"4f7cdeb0f05278b464e71357394bf2c61f94138e", "v6.6.0"},
    {"16ebe778df0e7752d2cfcbd924afdbbd89c1a755", "v6.6.1"},
    {"5cd11c3a4ced054e52742c5fd54dca954e0edd85", "v6.7.0"},
    {"32945a339266b759abcbdc89316275140b0fc960", "v6.8.0"},
    {"4f58ea79222b3b9dc2c8bbdd6debcef730109a75", "v6.9.0"},
    {"48aba3b46d1b1fec4febb7c5d0c644b249a11355", "v6.10.0"},
    {"b32b51a8eda65d6793cd0494a773d4f6bcef32dc", "v6.11.0"},
    {"67a2d409c0a876cbe6b11854e3e25193efe4e62d", "v6.12.0"},
    {"ca877d9245402d1537745e0e356eab47c3520991", "v6.13.0"},
    {"0adf9959216b96bec444f325f1e493d4aa344497", "v6.14.0"},
    {"471d1dc4e07e5cdedd4c2171150001c434f0b7a4", "v6.15.0"},
    {"14487ce63c7a62a4a324b0bfb37086795e31c6c1", "v6.16.0"},
    {"1dc73863535b631f98b2378be8619f83b136f4a0", "v6.17.0"},
    {"263435318d21b8e681c14492fe198d362a7d2c83", "v6.18.0"},
    {"ee4ca427a2f43b6a16632044ca514c076267da23", "v6.19.0"},
    {"601a80b39c9405e50806ae38af30926f9d957c47", "v6.19.1"},
    {"10e90e3645eae34f1e60eeb005ba3a3d33f178e8", "v6.19.2"},
    {"d08e5c354a6adb9ed34480a06d141179aa583294", "v7.0.0"},
    {"bcafcacb16a39f128d818304e6c9c0c18556b85f", "v7.1.0"},
    {"f9f3042f7e2789586610d6e8b85c8f03e5195baf", "v7.2.0"},
    {"53b7df96c91f9c12dcc8a07bcb9ccacbed38856a", "v7.3.0"},
};

static const struct release login[] = {
    {"49ed152c8eca782a232dede0303416e8f356c37b", "v2.0.0"},
    {"f4ef78c080cd8ba55a85445d5b36e214a81df20a", "v2.1.0"},
    {"465a07811f14bebb1938fbed4728c6a1ff8901fc", "v2.2.0"},
    {"343f7c4344506bcbf9b4de18042ae17996df046d", "v3.0.0"},
    {"e92390c5fb421da1463c202d546fed0ec5c39f20", "v3.1.0"},
    {"0d4c9c5ea7693da7b068278f7b52bda2a190a446", "v3.2.0"},
    {"9780b0c442fbb1117ed29e0efdff1e18412f7567", "v3.3.0"},
    {"74a5d142397b4f367a81961eba4e8cd7edddf772", "v3.4.0"},
    {"184bdaa0721073962dff0199f1fb9940f07167d1", "v3.5.0"},
    {"5e57cd118135c172c3672efd75eb46360885c0ef", "v3.6.0"},
    {"c94ce9fb468520275223c153574b00df6fe4bcc9", "v3.7.0"},
    {"b45d80f862d83dbcd57f89517bcf500b2ab88fb2", "v4.0.0"},
    {"4907a6ddec9925e35a0a9e82d7399ccc52663121", "v4.1.0"},
};

static const struct release metadata[] = {
    {"f206c36955d3cc6213c38fb3747d9ba4113e686a", "v4.0.0"},
    {"69f6fc9d46f2f8bf0d5491e4aabe0bb8c6a4678a", "v4.0.1"},
    {"12cce9efe0d49980455aaaca9b071c0befcdd702", "v4.1.0"},
    {"57396166ad8aefe6098280995947635806a0e6ea", "v4.1.1"},
    {"05d22bf31770de02e20c67c70365453e00227f61", "v4.2.0"},
    {"507c2f2dc502c992ad446e3d7a5dfbe311567a96", "v4.3.0"},
    {"c4ee3adeed93b1fa6a762f209fb01608c1a22f1e", "v4.4.0"},
    {"2c0bd771b40637d97bf205cbccdd294a32112176", "v4.5.0"},
    {"818d4b7b91585d195f67373fd9cb0332e31a7175", "v4.6.0"},
    {"96383f45573cb7f253c731d3b3ab81c87ef81934", "v5.0.0"},
    {"f19c3691d56f26e3f97547999df66a9ecbf0d9b0", "v5.1.0"},
    {"e6428a5c4e294a61438ed7f43155db912025b6b3", "v5.2.0"},
    {"31cebacef4805868f9ce9a0cb03ee36c32df2ac4", "v5.3.0"},
    {"9dc751fe249ad99385a2583ee0d084c400eee04e", "v5.4.0"},
    {"dbef88086f6cef02e264edb7dbf63250c17cef6c", "v5.5.0"},
    {"8e5442c4ef9f78752691e2d8f8d19755c6f78e81", "v5.5.1"},
    {"359e915ab3220d88514ed693793a5cc795192aa6", "v5.6.0"},
    {"369eb591f429131d6889c46b94e711f089e6ca96", "v5.6.1"},
    {"902fa8ec7d6ecbf8d84d538b9b233a880e428804", "v5.7.0"},
    {"c1e51972afc2121e065aed6d45c65596fe445f3f", "v5.8.0"},
    {"318604b99e75e41977312d83839a89be02ca4893", "v5.9.0"},
    {"c299e40c65443455700f0fdfc63efafe5b349051", "v5.10.0"},
    {"030e881283bb7a6894de51c315a6bfe6a94e05cf", "v6.0.0"},
    {"80c7e94dd9b9319bd5eb7a0e0fe9291e23a2a2e9", "v6.1.0"},
    {"dc802804100637a589fabce1cb79ff13a1411302", "v6.2.0"},
};

static const struct release setup_buildx[] = {
    {"dc7b9719a96d48369863986a06765841d7ea23f6", "v2.0.0"},
    {"95cb08cb2672c73d4ffd2f422e6d11953d2a9c70", "v2.1.0"},
    {"c74574e6c82eeedc46366be1b0d287eff9085eb6", "v2.2.0"},
    {"8c0edbc76e98fa90f69d9a2c020dcb50019dc325", "v2.2.1"},
    {"5e716dcfd653738c2d1db099bfba194a84158be4", "v2.3.0"},
    {"15c905b16b06416d2086efa066dd8e3a35cc7f98", "v2.4.0"},
    {"f03ac48505955848960e80bbb68046aa35c7b9e7", "v2.4.1"},
    {"4b4e9c3e2d4531116a6f8ba8e71fc6e2cb6e6c8c", "v2.5.0"},
    {"6a58db7e0d21ca03e6c44877909e80e45217eed2", "v2.6.0"},
    {"ecf95283f03858871ff00b787d79c419715afc34", "v2.7.0"},
    {"16c0bc4a6e6ada2cfd8afd41d22d95379cf7c32a", "v2.8.0"},
    {"2a1a44ac4aa01993040736bd95bb470da1a38365", "v2.9.0"},
    {"4c0219f9ac95b02789c1075625400b2acbff50b1", "v2.9.1"},
    {"885d1462b80bc1c1c7f0b00334ad271f09369c55", "v2.10.0"},
    {"f95db51fddba0c2d1ec667646a06c2ce06100226", "v3.0.0"},
    {"0d103c3126aa41d772a8362f6aa67afac040f80c", "v3.1.0"},
    {"2b51285047da1547ffb1b2203d8be4c0af6b1f20", "v3.2.0"},
    {"d70bba72b1f3fd22344832f00baa16ece964efeb", "v3.3.0"},
    {"4fd812986e6c8c2a69e18311145f9371337f27d4", "v3.4.0"},
    {"aa33708b10e362ff993539393ff100fa93ed6a27", "v3.5.0"},
    {"3d68780484996aa9d417bb9016193885cdf1f299", "v3.6.0"},
    {"988b5a0280414f521da01fcc63a27aeeb4b104db", "v3.6.1"},
    {"8026d2bc3645ea78b0d2544766a1225eb5691f89", "v3.7.0"},
    {"c47758b77c9736f4b2ef4073d4d51994fabfe349", "v3.7.1"},
    {"6524bf65af31da8d45b59e8c27de4bd072b392f5", "v3.8.0"},
    {"f7ce87c1d6bead3e36075b2ce75da1f6cc28aaca", "v3.9.0"},
    {"b5ca514318bd6ebac0fb2aedd5d36ec1b5c232a2", "v3.10.0"},
    {"18ce135bb5112fa8ce4ed6c17ab05699d7f3a5e0", "v3.11.0"},
    {"e468171a9de216ec08956ac3ada2f0791b6bd435", "v3.11.1"},
    {"8d2750c68a42422c14e847fe6c8ac0403b4cbd6f", "v3.12.0"},
    {"4d04d5d9486b7bd6fa91e7baf45bbb4f8b9deedd", "v4.0.0"},
    {"d7f5e7f509e45cec5c76c4d5afdd7de93d0b3df5", "v4.1.0"},
    {"bb05f3f5519dd87d3ba754cc423b652a5edd6d2c", "v4.2.0"},
    {"37fe631027851001ddb9b187196cc803df7f5f0e", "v4.3.0"},
};

static const struct release setup_qemu[] = {
    {"8b122486cedac8393e77aa9734c3528886e4a1a8", "v2.0.0"},
    {"e81a89b1732b9c48d79cd809d8d81d79c4647a18", "v2.1.0"},
    {"2b82ce82d56a2a04d2637cd93a637ae1b359c0a7", "v2.2.0"},
    {"68827325e0b33c7199eb31dd4e31fbe9023e06e3", "v3.0.0"},
    {"5927c834f5b4fdf503fca6f4c7eccda82949e1ee", "v3.1.0"},
    {"49b3bc8e6bdd4a60e6116a5414239cba5943d3cf", "v3.2.0"},
    {"53851d14592bedcffcf25ea515637cff71ef929a", "v3.3.0"},
    {"4574d27a4764455b42196d70a065bc6853246a25", "v3.4.0"},
    {"5964de0df58d5ad28b04d8fe2e6b80ad47105b91", "v3.5.0"},
    {"29109295f81e9208d7d86ff1c6c12d2833863392", "v3.6.0"},
    {"c7c53464625b32c7a7e944ae62b3e17d2b600130", "v3.7.0"},
    {"ce360397dd3f832beb865e1373c09c0e9f86d70a", "v4.0.0"},
    {"06116385d9baf250c9f4dcb4858b16962ea869c3", "v4.1.0"},
    {"96fe6ef7f33517b61c61be40b68a1882f3264fb8", "v4.2.0"},
};

static const struct {
    const char *repository;
    const struct release *releases;
    size_t count;
} known[] = {
    {"actions/checkout", checkout, WH_COUNT(checkout)},
    {"docker/build-push-action", build_push, WH_COUNT(build_push)},
    {"docker/login-action", login, WH_COUNT(login)},
    {"docker/metadata-action", metadata, WH_COUNT(metadata)},
    {"docker/setup-buildx-action", setup_buildx, WH_COUNT(setup_buildx)},
    {"docker/setup-qemu-action", setup_qemu, WH_COUNT(setup_qemu)},
};

const char *wh_action_release_of(const char *repository, const char *commit)
{
    for (size_t i = 0; i < WH_COUNT(known); i++) {
        if (!wh_streq_ci(known[i].repository, repository))
            continue;
        for (size_t k = 0; k < known[i].count; k++)
            if (wh_streq_ci(known[i].releases[k].commit, commit))
                return known[i].releases[k].tag;
    }
    return NULL;
}
