#include "engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/error.h>
#include <mbedtls/sha256.h>
#include <mbedtls/ssl.h>
#include <mbedtls/ssl_ciphersuites.h>
#include <mbedtls/ssl_cookie.h>
#include <mbedtls/version.h>
#include <psa/crypto.h>

/* The one place that looks into the library's structures: what dtls_freeze writes has to be what
 * mbedtls_ssl_context_load reads. dtls_begin proves it against the library that is really there. */
#define INNER(structure, field) ((structure)->MBEDTLS_PRIVATE(field))

#define MAX_DATAGRAM 2048
#define MAX_NAME 128      /* of a PSK identity; a SHA-256 is 32 */
#define MAX_SECRET 64
#define MAX_CID 8
#define OUT_CAPACITY 16384 /* the longest flight, certificates of 4 kB and retransmitted, is far below */
#define HANDSHAKE_MTU 1200 /* IPv6 carries 1232 bytes everywhere; Zephyr takes records up to 1211 */
#define SESSION_HEADER 5
#define CONTEXT_HEADER 8
#define COUNTERS 24

enum { KIND_NONE = 0, KIND_PSK = 1, KIND_CERTIFICATE = 2 };

/* --- The ring: who may come in ----------------------------------------------------------------------- */

typedef struct ring_entry {
    struct ring_entry *next;
    int kind;
    size_t name_length, secret_length;
    uint8_t name[MAX_NAME];
    uint8_t secret[MAX_SECRET];
} ring_entry;

struct dtls_ring {
    mbedtls_ssl_cookie_ctx cookies; /* here, so that a change of certificate spoils no cookie under way */
    pthread_mutex_t lock;
    ring_entry **buckets;
    size_t bucket_count, count;
};

static int on_random(void *context, unsigned char *out, size_t length) {
    (void) context;
    return psa_generate_random(out, length) == PSA_SUCCESS ? 0 : MBEDTLS_ERR_SSL_HW_ACCEL_FAILED;
}

static size_t ring_hash(int kind, const uint8_t *name, size_t length) {
    uint64_t hash = 1469598103934665603u ^ (uint64_t) kind;
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ name[i]) * 1099511628211u;
    }
    return (size_t) (hash ^ (hash >> 32));
}

/* The place that points at the entry, or at NULL where it would be. */
static ring_entry **ring_find(dtls_ring *ring, int kind, const uint8_t *name, size_t length) {
    ring_entry **place = &ring->buckets[ring_hash(kind, name, length) & (ring->bucket_count - 1)];
    while (*place != NULL && !((*place)->kind == kind && (*place)->name_length == length &&
                               memcmp((*place)->name, name, length) == 0)) {
        place = &(*place)->next;
    }
    return place;
}

static void ring_drop(ring_entry *entry) {
    mbedtls_platform_zeroize(entry, sizeof *entry);
    free(entry);
}

dtls_ring *dtls_ring_new(void) {
    dtls_ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        return NULL;
    }
    ring->bucket_count = 64;
    ring->buckets = calloc(ring->bucket_count, sizeof *ring->buckets);
    pthread_mutex_init(&ring->lock, NULL);
    mbedtls_ssl_cookie_init(&ring->cookies);
    if (ring->buckets == NULL || mbedtls_ssl_cookie_setup(&ring->cookies, on_random, NULL) != 0) {
        ring->bucket_count = 0;
        dtls_ring_free(ring);
        return NULL;
    }
    return ring;
}

void dtls_ring_free(dtls_ring *ring) {
    if (ring == NULL) {
        return;
    }
    for (size_t i = 0; i < ring->bucket_count; i++) {
        for (ring_entry *entry = ring->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            ring_drop(entry);
        }
    }
    mbedtls_ssl_cookie_free(&ring->cookies);
    pthread_mutex_destroy(&ring->lock);
    free(ring->buckets);
    free(ring);
}

/* Without the memory for more buckets the chains grow longer, and that is all. */
static void ring_grow(dtls_ring *ring) {
    size_t bucket_count = ring->bucket_count * 2;
    ring_entry **buckets = calloc(bucket_count, sizeof *buckets);
    if (buckets == NULL) {
        return;
    }
    for (size_t i = 0; i < ring->bucket_count; i++) {
        for (ring_entry *entry = ring->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            ring_entry **place =
                &buckets[ring_hash(entry->kind, entry->name, entry->name_length) & (bucket_count - 1)];
            entry->next = *place;
            *place = entry;
        }
    }
    free(ring->buckets);
    ring->buckets = buckets;
    ring->bucket_count = bucket_count;
}

int dtls_ring_put(dtls_ring *ring, int kind, const uint8_t *name, size_t length,
                  const uint8_t *secret, size_t secret_length) {
    if (length == 0 || length > MAX_NAME || secret_length > MAX_SECRET) {
        return -1;
    }
    pthread_mutex_lock(&ring->lock);
    ring_entry **place = ring_find(ring, kind, name, length);
    ring_entry *entry = *place;
    if (entry == NULL) {
        entry = calloc(1, sizeof *entry);
        if (entry == NULL) {
            pthread_mutex_unlock(&ring->lock);
            return -1;
        }
        entry->kind = kind;
        entry->name_length = length;
        memcpy(entry->name, name, length);
        *place = entry;
        ring->count++;
    }
    mbedtls_platform_zeroize(entry->secret, sizeof entry->secret);
    if (secret_length > 0) {
        memcpy(entry->secret, secret, secret_length);
    }
    entry->secret_length = secret_length;
    if (ring->count > ring->bucket_count) {
        ring_grow(ring);
    }
    pthread_mutex_unlock(&ring->lock);
    return 0;
}

int dtls_ring_remove(dtls_ring *ring, int kind, const uint8_t *name, size_t length) {
    pthread_mutex_lock(&ring->lock);
    ring_entry **place = ring_find(ring, kind, name, length);
    ring_entry *entry = *place;
    if (entry != NULL) {
        *place = entry->next;
        ring->count--;
        ring_drop(entry);
    }
    pthread_mutex_unlock(&ring->lock);
    return entry == NULL ? -1 : 0;
}

size_t dtls_ring_count(dtls_ring *ring) {
    pthread_mutex_lock(&ring->lock);
    size_t count = ring->count;
    pthread_mutex_unlock(&ring->lock);
    return count;
}

/* Copies the secret of an entry; its length, or -1 where there is no such entry. */
static int ring_secret(dtls_ring *ring, int kind, const uint8_t *name, size_t length, uint8_t *secret) {
    if (ring == NULL || length == 0 || length > MAX_NAME) {
        return -1;
    }
    pthread_mutex_lock(&ring->lock);
    ring_entry *entry = *ring_find(ring, kind, name, length);
    int found = -1;
    if (entry != NULL) {
        memcpy(secret, entry->secret, entry->secret_length);
        found = (int) entry->secret_length;
    }
    pthread_mutex_unlock(&ring->lock);
    return found;
}

/* --- Configurations and sessions --------------------------------------------------------------------- */

#define MAX_SUITES 16

struct dtls_config {
    mbedtls_ssl_config conf;
    mbedtls_x509_crt own, roots;
    mbedtls_pk_context key;
    dtls_ring *ring;
    int client, check_dates;
    size_t cid_length;
    int suites[MAX_SUITES + 1];
};

struct dtls_session {
    mbedtls_ssl_context ssl; /* first: callbacks are given its address */
    dtls_config *config;
    const uint8_t *datagram;
    size_t datagram_length;
    uint8_t *out;
    size_t out_length;
    int64_t timer_started_ms;
    uint32_t timer_intermediate_ms, timer_final_ms; /* 0: not set */
    int proof_kind;
    size_t proof_length;
    uint8_t proof[MAX_NAME];
    uint8_t randoms[64]; /* the server's, then the client's: as the key schedule takes them */
    int has_randoms;
    mbedtls_ssl_session offer;
    int has_offer;
    int cookie_good;
};

static const int SERVER_SUITES[] = {
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM,
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256,
    MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8, MBEDTLS_TLS_PSK_WITH_AES_128_CCM,
    MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_CBC_SHA256, 0};

static const uint16_t GROUPS[] = {MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1, 0};

/* The versions of the library's session and context formats, learned in dtls_begin. */
static uint8_t session_header[SESSION_HEADER], context_header[CONTEXT_HEADER];

/* The session whose handshake is going on in this thread: some callbacks are told nothing else. */
static _Thread_local dtls_session *at_work;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int on_send(void *context, const unsigned char *data, size_t length) {
    dtls_session *session = context;
    if (length > 0xffff || session->out_length + 2 + length > OUT_CAPACITY) {
        return (int) length; /* lost, as on the way it may be */
    }
    if (session->out == NULL && (session->out = malloc(OUT_CAPACITY)) == NULL) {
        return MBEDTLS_ERR_SSL_ALLOC_FAILED;
    }
    uint8_t *place = session->out + session->out_length;
    place[0] = (uint8_t) (length >> 8);
    place[1] = (uint8_t) length;
    memcpy(place + 2, data, length);
    session->out_length += 2 + length;
    return (int) length;
}

static int on_receive(void *context, unsigned char *out, size_t capacity) {
    dtls_session *session = context;
    size_t length = session->datagram_length;
    if (session->datagram == NULL) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    if (length > capacity) {
        length = capacity;
    }
    memcpy(out, session->datagram, length);
    /* Anjay over Mbed TLS 2.28 writes its ClientHello as version 254.0, which is neither authenticated nor
     * part of the transcript, and which the library refuses. */
    if (length > 2 && out[0] == 22 && out[1] == 0xfe && out[2] == 0x00) {
        out[2] = 0xfd;
    }
    session->datagram = NULL;
    return (int) length;
}

static void on_set_timer(void *context, uint32_t intermediate_ms, uint32_t final_ms) {
    dtls_session *session = context;
    session->timer_started_ms = now_ms();
    session->timer_intermediate_ms = intermediate_ms;
    session->timer_final_ms = final_ms;
}

static int on_get_timer(void *context) {
    dtls_session *session = context;
    if (session->timer_final_ms == 0) {
        return -1;
    }
    int64_t passed = now_ms() - session->timer_started_ms;
    if (passed >= session->timer_final_ms) {
        return 2;
    }
    return passed >= session->timer_intermediate_ms ? 1 : 0;
}

static int on_psk(void *context, mbedtls_ssl_context *ssl, const unsigned char *identity, size_t length) {
    dtls_session *session = (dtls_session *) ssl;
    uint8_t secret[MAX_SECRET];
    dtls_config *config = context;
    session->proof_kind = KIND_PSK;
    session->proof_length = length < MAX_NAME ? length : MAX_NAME;
    memcpy(session->proof, identity, session->proof_length);
    int found = ring_secret(config->ring, KIND_PSK, identity, length, secret);
    int result = MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY;
    if (found > 0) {
        result = mbedtls_ssl_set_hs_psk(ssl, secret, (size_t) found);
    }
    mbedtls_platform_zeroize(secret, sizeof secret);
    return result;
}

static int on_verify(void *context, mbedtls_x509_crt *certificate, int depth, uint32_t *flags) {
    dtls_session *session = context;
    if (!session->config->check_dates) {
        *flags &= ~(uint32_t) (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    }
    if (depth == 0 && !session->config->client) {
        uint8_t ignored[MAX_SECRET];
        session->proof_kind = KIND_CERTIFICATE;
        session->proof_length = 32;
        if (mbedtls_sha256(certificate->raw.p, certificate->raw.len, session->proof, 0) != 0 ||
            ring_secret(session->config->ring, KIND_CERTIFICATE, session->proof, 32, ignored) < 0) {
            /* Of a stranger's certificate nobody knows whether it was revoked: its alert is unknown_ca. */
            *flags |= *flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED ? 0 : MBEDTLS_X509_BADCERT_REVOKED;
        }
    }
    return 0;
}

/* What was wrong with the peer's certificate, in the bits of an error that are free for it. */
static int certificate_error(mbedtls_ssl_context *ssl) {
    uint32_t flags = mbedtls_ssl_get_verify_result(ssl);
    int reason = 0;
    if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED) {
        reason = 1;
    } else if (flags & MBEDTLS_X509_BADCERT_REVOKED) {
        reason = 2;
    } else if (flags & (MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE)) {
        reason = 3;
    }
    return MBEDTLS_ERR_X509_CERT_VERIFY_FAILED - reason;
}

static void on_keys(void *context, mbedtls_ssl_key_export_type type, const unsigned char *secret,
                    size_t length, const unsigned char client[32], const unsigned char server[32],
                    mbedtls_tls_prf_types prf) {
    dtls_session *session = context;
    (void) secret, (void) length, (void) prf;
    if (type == MBEDTLS_SSL_KEY_EXPORT_TLS12_MASTER_SECRET) {
        memcpy(session->randoms, server, 32);
        memcpy(session->randoms + 32, client, 32);
        session->has_randoms = 1;
    }
}

/* Session blobs of the library, by way of memory: it has no function that copies one. */
static int copy_session(mbedtls_ssl_session *into, const mbedtls_ssl_session *from) {
    uint8_t saved[1024];
    size_t length;
    int error = mbedtls_ssl_session_save(from, saved, sizeof saved, &length);
    if (error == 0) {
        error = mbedtls_ssl_session_load(into, saved, length);
    }
    mbedtls_platform_zeroize(saved, sizeof saved);
    return error;
}

static int on_cache_get(void *context, unsigned char const *id, size_t length, mbedtls_ssl_session *found) {
    dtls_session *session = at_work;
    (void) context;
    if (session == NULL || !session->has_offer || INNER(&session->offer, id_len) != length || length == 0 ||
        memcmp(INNER(&session->offer, id), id, length) != 0) {
        return MBEDTLS_ERR_SSL_CACHE_ENTRY_NOT_FOUND;
    }
    return copy_session(found, &session->offer);
}

static int on_cache_set(void *context, unsigned char const *id, size_t length,
                        const mbedtls_ssl_session *session) {
    (void) context, (void) id, (void) length, (void) session;
    return 0; /* the caller freezes what it wants to keep */
}

static int on_cookie_check(void *context, const unsigned char *cookie, size_t length,
                           const unsigned char *address, size_t address_length) {
    int error = mbedtls_ssl_cookie_check(context, cookie, length, address, address_length);
    if (at_work != NULL) {
        at_work->cookie_good = error == 0;
    }
    return error;
}

dtls_config *dtls_config_new(int client, size_t cid_length, unsigned timeout_min_ms,
                             unsigned timeout_max_ms) {
    dtls_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return NULL;
    }
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
    mbedtls_ssl_conf_rng(conf, on_random, NULL);
    mbedtls_ssl_conf_min_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_max_tls_version(conf, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_renegotiation(conf, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    mbedtls_ssl_conf_session_tickets(conf, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    mbedtls_ssl_conf_handshake_timeout(conf, timeout_min_ms, timeout_max_ms);
    mbedtls_ssl_conf_groups(conf, GROUPS);
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_REQUIRED);
    /* The names of our roots tell a device nothing, and cost it bytes. */
    mbedtls_ssl_conf_cert_req_ca_list(conf, MBEDTLS_SSL_CERT_REQ_CA_LIST_DISABLED);
    mbedtls_ssl_conf_session_cache(conf, NULL, on_cache_get, on_cache_set);
    mbedtls_ssl_conf_ciphersuites(conf, SERVER_SUITES);
    return config;
}

void dtls_config_free(dtls_config *config) {
    if (config == NULL) {
        return;
    }
    mbedtls_ssl_config_free(&config->conf);
    mbedtls_x509_crt_free(&config->own);
    mbedtls_x509_crt_free(&config->roots);
    mbedtls_pk_free(&config->key);
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
        error = mbedtls_pk_parse_key(&config->key, key, key_length, NULL, 0, on_random, NULL);
    }
    if (error == 0) {
        error = mbedtls_pk_check_pair(&config->own.pk, &config->key, on_random, NULL);
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
    config->ring = ring;
    mbedtls_ssl_conf_psk_cb(&config->conf, on_psk, config);
    mbedtls_ssl_conf_dtls_cookies(&config->conf, mbedtls_ssl_cookie_write, on_cookie_check, &ring->cookies);
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

static int set_up(dtls_session *session) {
    mbedtls_ssl_context *ssl = &session->ssl;
    mbedtls_ssl_init(ssl);
    int error = mbedtls_ssl_setup(ssl, &session->config->conf);
    if (error != 0) {
        mbedtls_ssl_free(ssl);
        mbedtls_ssl_init(ssl);
        return error;
    }
    mbedtls_ssl_set_bio(ssl, session, on_send, on_receive, NULL);
    mbedtls_ssl_set_timer_cb(ssl, session, on_set_timer, on_get_timer);
    mbedtls_ssl_set_export_keys_cb(ssl, on_keys, session);
    mbedtls_ssl_set_verify(ssl, on_verify, session);
    mbedtls_ssl_set_mtu(ssl, HANDSHAKE_MTU);
    if (session->config->client) {
        /* Names are the caller's affair: devices come by address and trust one root of their own. */
        error = mbedtls_ssl_set_hostname(ssl, NULL);
    }
    return error;
}

dtls_session *dtls_session_new(dtls_config *config) {
    dtls_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    session->config = config;
    mbedtls_ssl_session_init(&session->offer);
    if (set_up(session) != 0) {
        dtls_session_free(session);
        return NULL;
    }
    return session;
}

void dtls_session_free(dtls_session *session) {
    if (session == NULL) {
        return;
    }
    mbedtls_ssl_free(&session->ssl);
    mbedtls_ssl_session_free(&session->offer);
    free(session->out);
    mbedtls_platform_zeroize(session, sizeof *session);
    free(session);
}

/* Forgets what belongs to one peer. */
static void forget(dtls_session *session) {
    session->datagram = NULL;
    session->out_length = 0;
    session->timer_intermediate_ms = session->timer_final_ms = 0;
    session->proof_kind = KIND_NONE;
    session->proof_length = 0;
    session->has_randoms = 0;
    if (session->has_offer) {
        mbedtls_ssl_session_free(&session->offer);
        mbedtls_ssl_session_init(&session->offer);
        session->has_offer = 0;
    }
}

int dtls_session_recycle(dtls_session *session) {
    forget(session);
    free(session->out);
    session->out = NULL;
    int error = mbedtls_ssl_session_reset(&session->ssl);
    if (error != 0) {
        mbedtls_ssl_free(&session->ssl);
        error = set_up(session);
    }
    mbedtls_ssl_set_mtu(&session->ssl, HANDSHAKE_MTU);
    return error;
}

int dtls_session_cid(dtls_session *session, int enabled, const uint8_t *cid) {
    return mbedtls_ssl_set_cid(&session->ssl, enabled ? MBEDTLS_SSL_CID_ENABLED : MBEDTLS_SSL_CID_DISABLED,
                               cid, enabled ? session->config->cid_length : 0);
}

/* The library's own session within a frozen one: two bytes of length, then it. */
static int load_frozen_session(mbedtls_ssl_session *session, const uint8_t *frozen, size_t length) {
    uint8_t current[1024];
    size_t size = length < 2 ? 0 : ((size_t) frozen[0] << 8 | frozen[1]);
    if (size < SESSION_HEADER || size > length - 2 || size > sizeof current ||
        memcmp(frozen + 2, session_header, 2) != 0 || memcmp(frozen + 5, session_header + 3, 2) != 0) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    /* Major, minor and the build's flags are as they were. The patch level stands in the header too, but
     * the format does not change with it, and dtls_begin has checked the format: without this a security
     * update of the library would cost every device a handshake. */
    memcpy(current, frozen + 2, size);
    memcpy(current, session_header, SESSION_HEADER);
    int error = mbedtls_ssl_session_load(session, current, size);
    mbedtls_platform_zeroize(current, sizeof current);
    return error;
}

int dtls_session_offer(dtls_session *session, const uint8_t *frozen, size_t length) {
    mbedtls_ssl_session_free(&session->offer);
    mbedtls_ssl_session_init(&session->offer);
    session->has_offer = 0;
    int error = load_frozen_session(&session->offer, frozen, length);
    if (error == 0 && session->config->client) {
        error = mbedtls_ssl_set_session(&session->ssl, &session->offer);
    }
    session->has_offer = error == 0;
    return error;
}

size_t dtls_frozen_id(const uint8_t *frozen, size_t length, uint8_t *out) {
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    size_t size = 0;
    if (load_frozen_session(&session, frozen, length) == 0) {
        size = INNER(&session, id_len);
        memcpy(out, INNER(&session, id), size);
    }
    mbedtls_ssl_session_free(&session);
    return size;
}

size_t dtls_hello_id(const uint8_t *datagram, size_t length, uint8_t *out) {
    /* RFC 6347 4.2.2: record header 13, message header 12, version 2, random 32, then the session id. */
    const size_t place = 13 + 12 + 2 + 32;
    if (length <= place || datagram[0] != 22 || datagram[13] != 1) {
        return 0;
    }
    size_t size = datagram[place];
    if (size > 32 || size > length - place - 1) {
        return 0;
    }
    memcpy(out, datagram + place + 1, size);
    return size;
}

/* --- Handshakes -------------------------------------------------------------------------------------- */

int dtls_hello(dtls_session *session, const uint8_t *datagram, size_t length,
               const uint8_t *address, size_t address_length) {
    mbedtls_ssl_context *ssl = &session->ssl;
    int error = mbedtls_ssl_set_client_transport_id(ssl, address, address_length);
    if (error != 0) {
        return error;
    }
    session->datagram = datagram;
    session->datagram_length = length;
    session->cookie_good = 0;
    at_work = session;
    /* With a good cookie it stops before the server's flight, which is the costly part; without one it goes
     * on to the HelloVerifyRequest. */
    while (error == 0 && !(session->cookie_good && INNER(ssl, state) > MBEDTLS_SSL_CLIENT_HELLO)) {
        error = mbedtls_ssl_handshake_step(ssl);
    }
    at_work = NULL;
    session->datagram = NULL;
    if (error == 0) {
        return 1;
    }
    if (error == MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED) {
        return mbedtls_ssl_session_reset(ssl);
    }
    return error == MBEDTLS_ERR_SSL_WANT_READ ? MBEDTLS_ERR_SSL_DECODE_ERROR : error;
}

int dtls_advance(dtls_session *session, const uint8_t *datagram, size_t length) {
    mbedtls_ssl_context *ssl = &session->ssl;
    session->datagram = datagram;
    session->datagram_length = length;
    at_work = session;
    int error = mbedtls_ssl_handshake(ssl);
    at_work = NULL;
    session->datagram = NULL;
    if (error == 0) {
        /* Nothing is fragmented any more: a record of the largest message must fit. */
        mbedtls_ssl_set_mtu(ssl, 0);
        return 1;
    }
    if (error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE) {
        return 0;
    }
    if (error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        return certificate_error(ssl);
    }
    if (error == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
        /* RFC 5246 7.4.6. The library says nothing, and the client would wait for its own time-out. */
        mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE);
    }
    return error;
}

void dtls_work(dtls_job *jobs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        jobs[i].result = dtls_advance(jobs[i].session, jobs[i].datagram, jobs[i].length);
    }
}

long dtls_timer(dtls_session *session) {
    if (session->timer_final_ms == 0) {
        return -1;
    }
    int64_t left = session->timer_started_ms + session->timer_final_ms - now_ms();
    return left > 0 ? (long) left : 0;
}

/* --- Records ----------------------------------------------------------------------------------------- */

long dtls_open(dtls_session *session, const uint8_t *datagram, size_t length, uint8_t *out, size_t capacity,
               int *flags) {
    mbedtls_ssl_context *ssl = &session->ssl;
    size_t used = 0;
    uint64_t top = INNER(ssl, in_window_top), window = INNER(ssl, in_window);
    *flags = 0;
    session->datagram = datagram;
    session->datagram_length = length;
    int result = 0;
    while (used + 2 < capacity) {
        size_t room = capacity - used - 2;
        result = mbedtls_ssl_read(ssl, out + used + 2, room > 0xffff ? 0xffff : room);
        if (result <= 0) {
            break;
        }
        out[used] = (uint8_t) (result >> 8);
        out[used + 1] = (uint8_t) result;
        used += 2 + (size_t) result;
    }
    session->datagram = NULL;
    if (INNER(ssl, in_window_top) != top || INNER(ssl, in_window) != window) {
        *flags |= 1;
    }
    if (INNER(ssl, in_window_top) > top) {
        *flags |= 2;
    }
    if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || result == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
        *flags |= 4;
        return (long) used;
    }
    if (result > 0 || result == MBEDTLS_ERR_SSL_WANT_READ || result == MBEDTLS_ERR_SSL_WANT_WRITE ||
        result == 0) {
        return (long) used;
    }
    return result;
}

long dtls_seal(dtls_session *session, const uint8_t *message, size_t length, uint8_t *out, size_t capacity) {
    size_t before = session->out_length;
    int result = mbedtls_ssl_write(&session->ssl, message, length);
    if (result < 0) {
        return result;
    }
    size_t size = session->out_length - before;
    if ((size_t) result != length || size < 2 || size - 2 > capacity) {
        session->out_length = before;
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    memcpy(out, session->out + before + 2, size - 2);
    session->out_length = before;
    return (long) (size - 2);
}

int dtls_alert(dtls_session *session, int number) {
    if (number == 0) {
        return mbedtls_ssl_close_notify(&session->ssl);
    }
    return mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, (unsigned char) number);
}

size_t dtls_waiting(dtls_session *session) {
    return session->out_length;
}

size_t dtls_take(dtls_session *session, uint8_t *out, size_t capacity) {
    size_t taken = 0;
    while (taken < session->out_length) {
        const uint8_t *next = session->out + taken;
        size_t size = 2 + ((size_t) next[0] << 8 | next[1]);
        if (taken + size > capacity) {
            break;
        }
        taken += size;
    }
    if (taken > 0) {
        memcpy(out, session->out, taken);
        session->out_length -= taken;
        memmove(session->out, session->out + taken, session->out_length);
    }
    return taken;
}

/* --- What is known ----------------------------------------------------------------------------------- */

int dtls_proof(dtls_session *session, uint8_t *name, size_t capacity, size_t *length) {
    *length = session->proof_length < capacity ? session->proof_length : capacity;
    memcpy(name, session->proof, *length);
    return session->proof_kind;
}

int dtls_suite(dtls_session *session) {
    return mbedtls_ssl_get_ciphersuite_id_from_ssl(&session->ssl);
}

int dtls_settled(dtls_session *session) {
    return mbedtls_ssl_is_handshake_over(&session->ssl) && INNER(&session->ssl, handshake) == NULL;
}

int dtls_resumed(dtls_session *session) {
    const mbedtls_ssl_session *now = INNER(&session->ssl, session);
    return session->has_offer && now != NULL && INNER(now, id_len) > 0 &&
           INNER(now, id_len) == INNER(&session->offer, id_len) &&
           memcmp(INNER(now, id), INNER(&session->offer, id), INNER(now, id_len)) == 0;
}

int dtls_uses_cid(dtls_session *session) {
    int enabled = MBEDTLS_SSL_CID_DISABLED;
    return mbedtls_ssl_get_peer_cid(&session->ssl, &enabled, NULL, NULL) == 0 &&
           enabled == MBEDTLS_SSL_CID_ENABLED;
}

/* --- Frozen sessions --------------------------------------------------------------------------------- */

/* length 2 | session, as the library saves it, without the peer's certificate | randoms 64 |
 * own CID behind its length | peer's CID behind its length */
long dtls_freeze(dtls_session *session, uint8_t *out, size_t capacity) {
    mbedtls_ssl_context *ssl = &session->ssl;
    mbedtls_ssl_session *now = INNER(ssl, session);
    if (!mbedtls_ssl_is_handshake_over(ssl) || now == NULL || !session->has_randoms || capacity < 2) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    size_t size = 0, used = 2;
    mbedtls_x509_crt *certificate = INNER(now, peer_cert);
    INNER(now, peer_cert) = NULL; /* it was looked at in the handshake, and is most of the size */
    int error = mbedtls_ssl_session_save(now, out + used, capacity - used, &size);
    INNER(now, peer_cert) = certificate;
    if (error != 0) {
        return error;
    }
    out[0] = (uint8_t) (size >> 8);
    out[1] = (uint8_t) size;
    used += size;
    uint8_t own[MBEDTLS_SSL_CID_IN_LEN_MAX], peer[MBEDTLS_SSL_CID_OUT_LEN_MAX];
    size_t own_length = 0, peer_length = 0;
    int enabled = 0;
    if (dtls_uses_cid(session)) {
        mbedtls_ssl_get_own_cid(ssl, &enabled, own, &own_length);
        mbedtls_ssl_get_peer_cid(ssl, &enabled, peer, &peer_length);
    }
    if (capacity - used < sizeof session->randoms + 2 + own_length + peer_length) {
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    }
    memcpy(out + used, session->randoms, sizeof session->randoms);
    used += sizeof session->randoms;
    out[used++] = (uint8_t) own_length;
    memcpy(out + used, own, own_length);
    used += own_length;
    out[used++] = (uint8_t) peer_length;
    memcpy(out + used, peer, peer_length);
    used += peer_length;
    return (long) used;
}

static void put_64(uint8_t *out, uint64_t value) {
    for (int i = 7; i >= 0; i--, value >>= 8) {
        out[i] = (uint8_t) value;
    }
}

/* Newest record that came in, the window below it, number of the next one that goes out. */
void dtls_counters(dtls_session *session, uint8_t *out) {
    put_64(out, INNER(&session->ssl, in_window_top));
    put_64(out + 8, INNER(&session->ssl, in_window));
    memcpy(out + 16, INNER(&session->ssl, cur_out_ctr), 8);
}

/* A frozen session as mbedtls_ssl_context_load reads it; its length, or 0 for what cannot be one. */
static size_t compose(const uint8_t *frozen, size_t length, const uint8_t *counters, uint8_t *out,
                      size_t capacity) {
    size_t size = length < 2 ? 0 : ((size_t) frozen[0] << 8 | frozen[1]);
    if (size < SESSION_HEADER || size > length - 2 || memcmp(frozen + 2, session_header, 2) != 0 ||
        memcmp(frozen + 5, session_header + 3, 2) != 0) {
        return 0;
    }
    const uint8_t *rest = frozen + 2 + size;
    size_t rest_length = length - 2 - size, body = size - SESSION_HEADER;
    if (rest_length < 64 + 2 || capacity < CONTEXT_HEADER + 4 + body + rest_length + 4 + 16 + 1 + 8 + 2 + 1) {
        return 0;
    }
    uint8_t *place = out;
    memcpy(place, context_header, CONTEXT_HEADER);
    place += CONTEXT_HEADER;
    *place++ = 0, *place++ = 0, *place++ = (uint8_t) (body >> 8), *place++ = (uint8_t) body;
    memcpy(place, frozen + 2 + SESSION_HEADER, body);
    place += body;
    memcpy(place, rest, rest_length);
    place += rest_length;
    memset(place, 0, 4); /* records with a bad MAC: not counted */
    place += 4;
    memcpy(place, counters, 16);
    place += 16;
    *place++ = 0; /* packing of datagrams is the library's default */
    memcpy(place, counters + 16, 8);
    place += 8;
    memset(place, 0, 3); /* no MTU, no ALPN */
    place += 3;
    return (size_t) (place - out);
}

int dtls_thaw(dtls_session *session, const uint8_t *frozen, size_t length, const uint8_t *counters) {
    uint8_t context[2048];
    size_t size = compose(frozen, length, counters, context, sizeof context);
    if (size == 0) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    int error = mbedtls_ssl_context_load(&session->ssl, context, size);
    if (error != 0) {
        set_up(session); /* the library has freed what it was loading into */
    } else {
        mbedtls_ssl_set_mtu(&session->ssl, 0);
        /* dtls_freeze asks for them again. */
        size_t session_size = (size_t) frozen[0] << 8 | frozen[1];
        memcpy(session->randoms, frozen + 2 + session_size, sizeof session->randoms);
        session->has_randoms = 1;
    }
    mbedtls_platform_zeroize(context, sizeof context);
    return error;
}

/* --- The library at hand ----------------------------------------------------------------------------- */

int dtls_version(void) {
    return (int) mbedtls_version_get_number();
}

void dtls_describe(int error, char *text, size_t capacity) {
    mbedtls_strerror(error, text, capacity);
}

/* Hands all that one session has to say to another. */
static int carry(dtls_session *from, dtls_session *to, int *result) {
    uint8_t datagrams[OUT_CAPACITY];
    size_t length = dtls_take(from, datagrams, sizeof datagrams);
    for (size_t at = 0; at < length;) {
        size_t size = (size_t) datagrams[at] << 8 | datagrams[at + 1];
        *result = dtls_advance(to, datagrams + at + 2, size);
        at += 2 + size;
    }
    return length > 0;
}

/* A handshake within memory, then one message each way. */
static int rehearse(dtls_session *client, dtls_session *server) {
    static const uint8_t address[] = "rehearsal", cid[MAX_CID] = {1, 2, 3, 4, 5, 6, 7, 8};
    uint8_t datagram[MAX_DATAGRAM], message[64];
    int done = 0, flags, unused;
    if (dtls_session_cid(client, 1, NULL) != 0 || dtls_session_cid(server, 1, cid) != 0 ||
        dtls_advance(client, NULL, 0) != 0) {
        return -1;
    }
    for (int turn = 0; turn < 2; turn++) {
        size_t length = dtls_take(client, datagram, sizeof datagram);
        int hello = length < 2 ? -1 : dtls_hello(server, datagram + 2, length - 2, address, sizeof address);
        if (hello != turn) {
            return -1;
        }
        if (turn == 0) {
            dtls_session_cid(server, 1, cid);
            carry(server, client, &unused);
        }
    }
    if (dtls_advance(server, NULL, 0) < 0) {
        return -1;
    }
    for (int turn = 0; turn < 8 && done != 1; turn++) {
        carry(server, client, &done);
        carry(client, server, &unused);
    }
    if (done != 1) {
        return -1;
    }
    long length = dtls_seal(client, address, sizeof address, datagram, sizeof datagram);
    return length > 0 && dtls_open(server, datagram, (size_t) length, message, sizeof message, &flags) > 0 ? 0
                                                                                                          : -1;
}

/* Learns the headers of the library's formats, and compares a context as it saves it with ours. */
static int compare(dtls_session *server) {
    uint8_t frozen[1024], counters[COUNTERS], ours[2048], theirs[4096];
    size_t size = 0;
    mbedtls_ssl_session *now = INNER(&server->ssl, session);
    if (mbedtls_ssl_session_save(now, theirs, sizeof theirs, &size) != 0 || size < SESSION_HEADER) {
        return -1;
    }
    memcpy(session_header, theirs, SESSION_HEADER);
    long length = dtls_freeze(server, frozen, sizeof frozen);
    dtls_counters(server, counters);
    if (length < 0 || mbedtls_ssl_context_save(&server->ssl, theirs, sizeof theirs, &size) != 0) {
        return -1;
    }
    memcpy(context_header, theirs, CONTEXT_HEADER);
    size_t composed = compose(frozen, (size_t) length, counters, ours, sizeof ours);
    return composed == size && memcmp(ours, theirs, size) == 0 ? 0 : -1;
}

int dtls_begin(void) {
    static const uint8_t name[] = "rehearsal";
    static const uint8_t secret[16] = {0};
    if (psa_crypto_init() != PSA_SUCCESS) {
        return MBEDTLS_ERR_SSL_HW_ACCEL_FAILED;
    }
    int result = MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    dtls_ring *ring = dtls_ring_new();
    dtls_config *a = dtls_config_new(1, 0, 1000, 60000), *b = dtls_config_new(0, MAX_CID, 1000, 60000);
    dtls_session *client = NULL, *server = NULL;
    if (ring != NULL && a != NULL && b != NULL) {
        dtls_ring_put(ring, KIND_PSK, name, sizeof name, secret, sizeof secret);
        dtls_config_ring(b, ring);
        dtls_config_psk(a, name, sizeof name, secret, sizeof secret);
        client = dtls_session_new(a);
        server = dtls_session_new(b);
        if (client != NULL && server != NULL && rehearse(client, server) == 0 && compare(server) == 0) {
            result = 0;
        }
    }
    dtls_session_free(client);
    dtls_session_free(server);
    dtls_config_free(a);
    dtls_config_free(b);
    dtls_ring_free(ring);
    return result;
}
