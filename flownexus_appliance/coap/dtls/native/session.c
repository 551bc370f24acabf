/* Sessions: their making, recycling and end, and what is known of one after its handshake. */
#include <stdlib.h>
#include <string.h>

#include <mbedtls/platform_util.h>

#include "internal.h"

/* Into memory that holds no context, or one that was freed. */
int session_set_up(dtls_session *session) {
    mbedtls_ssl_context *ssl = &session->ssl;
    mbedtls_ssl_init(ssl);
    session->ready = 0;
    session->failed = 0;
    int error = mbedtls_ssl_setup(ssl, &session->config->conf);
    if (error == 0 && session->config->client) {
        /* Names are the caller's affair: devices come by address and trust one root of their own. */
        error = mbedtls_ssl_set_hostname(ssl, NULL);
    }
    if (error != 0) {
        mbedtls_ssl_free(ssl);
        mbedtls_ssl_init(ssl);
        return error;
    }
    attach_to_session(session);
    mbedtls_ssl_set_mtu(ssl, HANDSHAKE_MTU);
    session->ready = 1;
    return 0;
}

dtls_session *dtls_session_new(dtls_config *config) {
    dtls_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    session->config = config_hold(config);
    mbedtls_ssl_session_init(&session->offer);
    if (session_set_up(session) != 0) {
        dtls_session_free(session);
        return NULL;
    }
    return session;
}

void dtls_session_free(dtls_session *session) {
    if (session == NULL) {
        return;
    }
    dtls_config *config = session->config;
    mbedtls_ssl_free(&session->ssl);
    mbedtls_ssl_session_free(&session->offer);
    free(session->out);
    mbedtls_platform_zeroize(session, sizeof *session);
    free(session);
    dtls_config_free(config);
}

/* Forgets what belongs to one peer. */
static void forget(dtls_session *session) {
    session->datagram = NULL;
    session->failed = 0;
    session->out_length = 0;
    free(session->out);
    session->out = NULL;
    session->timer_intermediate_ms = session->timer_final_ms = 0;
    session->proof_kind = KIND_NONE;
    session->proof_length = 0;
    mbedtls_platform_zeroize(session->proof, sizeof session->proof);
    mbedtls_platform_zeroize(session->randoms, sizeof session->randoms);
    session->has_randoms = 0;
    session->cookie_good = 0;
    mbedtls_ssl_session_free(&session->offer);
    mbedtls_ssl_session_init(&session->offer);
    session->has_offer = 0;
}

int dtls_session_recycle(dtls_session *session) {
    forget(session);
    if (!session->ready || mbedtls_ssl_session_reset(&session->ssl) != 0) {
        mbedtls_ssl_free(&session->ssl);
        return session_set_up(session);
    }
    /* The library keeps this over its reset. */
    mbedtls_ssl_set_cid(&session->ssl, MBEDTLS_SSL_CID_DISABLED, NULL, 0);
    mbedtls_ssl_set_mtu(&session->ssl, HANDSHAKE_MTU);
    return 0;
}

int dtls_session_cid(dtls_session *session, int enabled, const uint8_t *cid) {
    static const uint8_t none[1];
    if (!session->ready) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    if (!enabled) {
        return mbedtls_ssl_set_cid(&session->ssl, MBEDTLS_SSL_CID_DISABLED, NULL, 0);
    }
    size_t length = session->config->cid_length;
    if (cid == NULL && length > 0) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    return mbedtls_ssl_set_cid(&session->ssl, MBEDTLS_SSL_CID_ENABLED, length > 0 ? cid : none, length);
}

int dtls_proof(dtls_session *session, uint8_t *name, size_t capacity, size_t *length) {
    *length = session->proof_length < capacity ? session->proof_length : capacity;
    memcpy(name, session->proof, *length);
    return session->proof_kind;
}

int dtls_suite(dtls_session *session) {
    const mbedtls_ssl_session *chosen = INNER(&session->ssl, session);
    if (chosen == NULL) {
        chosen = INNER(&session->ssl, session_negotiate); /* as soon as the ClientHello was read */
    }
    return chosen == NULL ? 0 : INNER(chosen, ciphersuite);
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

size_t dtls_max_message(const dtls_session *session) {
    int size = session->ready ? mbedtls_ssl_get_max_out_record_payload(&session->ssl) : 0;
    return size < 0 ? 0 : (size_t) size;
}

int dtls_uses_cid(dtls_session *session) {
    int enabled = MBEDTLS_SSL_CID_DISABLED;
    return session->ready && mbedtls_ssl_get_peer_cid(&session->ssl, &enabled, NULL, NULL) == 0 &&
           enabled == MBEDTLS_SSL_CID_ENABLED;
}
