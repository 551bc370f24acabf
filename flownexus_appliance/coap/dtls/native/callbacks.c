/* What the library asks and tells: datagrams, timers, keys, cookies, sessions to resume. Every callback
 * finds its session by the pointer it is given or by the thread; none of them waits or calls back.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>

#include "internal.h"

_Thread_local dtls_session *at_work;

int64_t now_ms(void) {
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
    if (session->datagram == NULL || length == 0) {
        return MBEDTLS_ERR_SSL_WANT_READ;
    }
    if (length > capacity) {
        length = capacity;
    }
    memcpy(out, session->datagram, length);
    /* Spec deviation: Anjay over Mbed TLS 2.28 writes its ClientHello as version 254.0, which the library
     * refuses. At epoch 0 the record's version is neither authenticated nor part of the transcript. */
    if (length > RECORD_HEADER && out[0] == RECORD_HANDSHAKE && out[1] == 0xfe && out[2] == 0x00 &&
        out[3] == 0 && out[4] == 0) {
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

/* The library reads no datagram once the timer has run out: a flight that came back a moment late would be
 * thrown away and asked for again. So the timer runs out only in a call that is for the timer. */
static int on_get_timer(void *context) {
    dtls_session *session = context;
    if (session->timer_final_ms == 0) {
        return -1;
    }
    int64_t passed = now_ms() - session->timer_started_ms;
    if (passed >= session->timer_final_ms && !session->fed) {
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
    if (at_work == NULL) {
        return -1; /* only dtls_hello asks; an established session never starts anew by a ClientHello */
    }
    int error = mbedtls_ssl_cookie_check(context, cookie, length, address, address_length);
    at_work->cookie_good = error == 0;
    return error;
}

void attach_to_config(dtls_config *config) {
    mbedtls_ssl_conf_session_cache(&config->conf, NULL, on_cache_get, on_cache_set);
}

void attach_ring(dtls_config *config) {
    mbedtls_ssl_conf_psk_cb(&config->conf, on_psk, config);
    mbedtls_ssl_conf_dtls_cookies(&config->conf, mbedtls_ssl_cookie_write, on_cookie_check,
                                  &config->ring->cookies);
}

void attach_to_session(dtls_session *session) {
    mbedtls_ssl_context *ssl = &session->ssl;
    mbedtls_ssl_set_bio(ssl, session, on_send, on_receive, NULL);
    mbedtls_ssl_set_timer_cb(ssl, session, on_set_timer, on_get_timer);
    mbedtls_ssl_set_export_keys_cb(ssl, on_keys, session);
    mbedtls_ssl_set_verify(ssl, on_verify, session);
}
