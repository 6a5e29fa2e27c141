/* The official runner's key file: eight numbers in base64 (runner-protocol.md §1.7). Its names are read in
 * any case, with or without leading zeros, and written exactly as the official runner wants them. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "github/rest.h"
#include "github/rsa_key.h"
#include "wherry/base/digest.h"

#define WHAT "the runner's key"

enum { D, DP, DQ, EXPONENT, INVERSE_Q, MODULUS, P, Q, NUMBERS };
static const struct {
    const char *name, *param;
    bool half; /* as long as the modulus' half, else as the whole */
} numbers[NUMBERS] = {
    [D] = {"d", OSSL_PKEY_PARAM_RSA_D, false},
    [DP] = {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1, true},
    [DQ] = {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2, true},
    [EXPONENT] = {"exponent", OSSL_PKEY_PARAM_RSA_E, false},
    [INVERSE_Q] = {"inverseQ", OSSL_PKEY_PARAM_RSA_COEFFICIENT1, true},
    [MODULUS] = {"modulus", OSSL_PKEY_PARAM_RSA_N, false},
    [P] = {"p", OSSL_PKEY_PARAM_RSA_FACTOR1, true},
    [Q] = {"q", OSSL_PKEY_PARAM_RSA_FACTOR2, true},
};

static void clear(BIGNUM *list[NUMBERS])
{
    for (size_t i = 0; i < NUMBERS; i++)
        BN_clear_free(list[i]);
}

static BIGNUM *read_number(const cJSON *json, const char *name, struct wh_error *err)
{
    const char *text = wh_json_need_string(json, name, WHAT, err);
    if (!text)
        return NULL;
    struct wh_str bytes = {0};
    BIGNUM *number = NULL;
    if (wh_unbase64(text, strlen(text), &bytes) && bytes.len > 0 && bytes.len <= WH_MAX_RSA_BITS)
        number = BN_bin2bn((const unsigned char *)bytes.data, (int)bytes.len, NULL);
    wh_str_wipe(&bytes);
    if (!number)
        wh_fail(err, WH_E_PARSE, WHAT ": field %s is not a number in base64", name);
    return number;
}

static EVP_PKEY *build(BIGNUM *list[NUMBERS])
{
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM *params = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    bool ok = builder && ctx;
    for (size_t i = 0; ok && i < NUMBERS; i++)
        ok = OSSL_PARAM_BLD_push_BN(builder, numbers[i].param, list[i]) == 1;
    if (ok && (params = OSSL_PARAM_BLD_to_param(builder)) && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
        pkey = NULL;
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* True if the numbers belong together: primes, their product, exponents. */
static bool fits(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool ok = ctx && EVP_PKEY_check(ctx) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* Before anything is computed with them: how long it takes grows with their lengths. */
static int check_lengths(BIGNUM *list[NUMBERS], struct wh_error *err)
{
    int bits = BN_num_bits(list[MODULUS]);
    if (bits < WH_MIN_RSA_BITS || bits > WH_MAX_RSA_BITS)
        return wh_fail(err, WH_E_UNSUPPORTED,
                       WHAT " has %d bits; keys of %d to %d are taken, as GitHub makes them (2048)", bits,
                       WH_MIN_RSA_BITS, WH_MAX_RSA_BITS);
    for (size_t i = 0; i < NUMBERS; i++) {
        int most = numbers[i].half ? (bits + 1) / 2 : i == EXPONENT ? 64 : bits;
        if (BN_num_bits(list[i]) > most)
            return wh_fail(err, WH_E_PARSE, WHAT ": field %s is longer than belongs to the modulus",
                           numbers[i].name);
    }
    return 0;
}

static struct wh_rsa_key *key_of(BIGNUM *list[NUMBERS], struct wh_error *err)
{
    if (check_lengths(list, err))
        return NULL;
    EVP_PKEY *pkey = build(list);
    if (pkey && fits(pkey))
        return gh_rsa_wrap(pkey, err);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    wh_fail(err, WH_E_CORRUPT,
            WHAT " is broken: its numbers do not belong together (edited, or of two keys)");
    return NULL;
}

struct wh_rsa_key *wh_rsa_key_import_params(const char *text, size_t len, struct wh_error *err)
{
    BIGNUM *list[NUMBERS] = {0};
    cJSON *json = wh_json_parse(text, len, WH_MAX_RSA_PARAMS, WHAT, err);
    bool ok = json != NULL;
    for (size_t i = 0; ok && i < NUMBERS; i++)
        ok = (list[i] = read_number(json, numbers[i].name, err)) != NULL;
    struct wh_rsa_key *key = ok ? key_of(list, err) : NULL;
    gh_json_wipe(json);
    cJSON_Delete(json);
    clear(list);
    return key;
}

/* Left-padded to the length that belongs to it; the exponent is as short as it is. */
static int add_number(const struct wh_rsa_key *key, size_t i, cJSON *json)
{
    unsigned char bytes[WH_MAX_RSA_BITS / 8];
    BIGNUM *number = NULL;
    int whole = (EVP_PKEY_bits(key->pkey) + 7) / 8;
    if (EVP_PKEY_get_bn_param(key->pkey, numbers[i].param, &number) != 1)
        return -1;
    int len = numbers[i].half ? (whole + 1) / 2 : i == EXPONENT ? BN_num_bytes(number) : whole;
    int code = BN_bn2binpad(number, bytes, len) == len ? 0 : -1;
    if (code == 0) {
        char *text = wh_base64(bytes, (size_t)len);
        wh_json_add_string(json, numbers[i].name, text);
        wh_wipe(text, strlen(text));
        free(text);
    }
    wh_wipe(bytes, sizeof bytes);
    BN_clear_free(number);
    return code;
}

int wh_rsa_key_export_params(const struct wh_rsa_key *key, struct wh_str *out, struct wh_error *err)
{
    cJSON *json = cJSON_CreateObject();
    int code = 0;
    for (size_t i = 0; code == 0 && i < NUMBERS; i++)
        code = add_number(key, i, json);
    if (code == 0) {
        char *text = wh_json_print_indented(json);
        wh_str_reserve(out, strlen(text) + 1);
        wh_str_add(out, text);
        wh_wipe(text, strlen(text));
        free(text);
    }
    gh_json_wipe(json);
    cJSON_Delete(json);
    return code ? wh_fail(err, WH_E_FAILED, WHAT " cannot be written out") : 0;
}
