/* Configurations: what all sessions of one kind share. Protocol, suites, certificates, keys (RFC 7925 4).
 */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static const int SUITES[] = {
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
    MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, MBEDTLS_TLS_PSK_WITH_AES_128_CCM,
    MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA256, 0};

static const uint16_t GROUPS[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0};

dtls_config *dtls_config_new(int client, size_t cid_length, unsigned timeout_min_ms,
                             unsigned timeout_max_ms) {
    dtls_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return NULL;
    }
    atomic_init(&config->holders, 1);
    mbedtls_ssl_config *conf = &config->conf;
    mbedtls_ssl_config_init(conf);
    mbedtls_x509_crt_init(&config->own);
    mbedtls_x509_crt_init(&config->roots);
    mbedtls_pk_init(&config->key);
    config->client = client;
    config->cid_length = cid_length;
    config->check_dates = 1;
    if (cid_length > MAX_CID ||
        mbedtls_ssl_config_defaults(conf, client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER,
                                    MBEDTLS_SSL_TRANSPORT_DATAGRAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0 ||
        mbedtls_ssl_conf_cid(conf, cid_length, MBEDTLS_SSL_UNEXPECTED_CID_IGNORE) != 0) {
        dtls_config_free(config);
        return NULL;
    }
    mbedtls_ssl_conf_rng(conf, engine_random, NULL);
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    mbedtls_ssl_conf_handshake_timeout(conf, timeout_min_ms, timeout_max_ms);
    mbedtls_ssl_conf_groups(conf, GROUPS);
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    /* The names of our roots tell a device nothing, and cost it bytes. */
    mbedtls_ssl_conf_cert_req_ca_list(conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    mbedtls_ssl_conf_ciphersuites(conf, SUITES);
    attach_to_config(config);
    return config;
}

dtls_config *config_hold(dtls_config *config) {
    atomic_fetch_add(&config->holders, 1);
    return config;
}

void dtls_config_free(dtls_config *config) {
    if (config == NULL || atomic_fetch_sub(&config->holders, 1) > 1) {
        return;
    }
    mbedtls_ssl_config_free(&config->conf);
    mbedtls_x509_crt_free(&config->own);
    mbedtls_x509_crt_free(&config->roots);
    mbedtls_pk_free(&config->key);
    dtls_ring_free(config->ring);
    free(config);
}

/* Reads DER certificates, each behind three bytes of length. */
static int parse_chain(mbedtls_x509_crt *chain, const uint8_t *data, size_t length) {
    while (length > 0) {
        size_t size = length < 3 ? length : ((size_t) data[0] << 16 | (size_t) data[1] << 8 | data[2]);
        if (length < 3 || size > length - 3) {
            return MBEDTLS_ERR_X509_INVALID_FORMAT;
        }
        int error = mbedtls_x509_crt_parse_der(chain, data + 3, size);
        if (error != 0) {
            return error;
        }
        data += 3 + size;
        length -= 3 + size;
    }
    return 0;
}

int dtls_config_own(dtls_config *config, const uint8_t *certificates, size_t certificates_length,
                    const uint8_t *key, size_t key_length) {
    int error = parse_chain(&config->own, certificates, certificates_length);
    if (error == 0) {
        error = mbedtls_pk_parse_key(&config->key, key, key_length, NULL, 0, engine_random, NULL);
    }
    if (error == 0) {
        error = mbedtls_pk_check_pair(&config->own.pk, &config->key, engine_random, NULL);
    }
    return error != 0 ? error : mbedtls_ssl_conf_own_cert(&config->conf, &config->own, &config->key);
}

int dtls_config_roots(dtls_config *config, const uint8_t *roots, size_t roots_length, int check_dates) {
    int error = parse_chain(&config->roots, roots, roots_length);
    if (error == 0) {
        mbedtls_ssl_conf_ca_chain(&config->conf, &config->roots, NULL);
        config->check_dates = check_dates;
    }
    return error;
}

int dtls_config_psk(dtls_config *config, const uint8_t *identity, size_t identity_length,
                    const uint8_t *key, size_t key_length) {
    return mbedtls_ssl_conf_psk(&config->conf, key, key_length, identity, identity_length);
}

int dtls_config_ring(dtls_config *config, dtls_ring *ring) {
    if (config->ring != NULL) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    config->ring = ring_hold(ring);
    attach_ring(config);
    return 0;
}

int dtls_config_suites(dtls_config *config, const int *suites, size_t count) {
    if (count == 0 || count > MAX_SUITES) {
        return -1;
    }
    memcpy(config->suites, suites, count * sizeof *suites);
    config->suites[count] = 0;
    mbedtls_ssl_conf_ciphersuites(&config->conf, config->suites);
    return 0;
}
