/* Sessions as bytes: freezing, thawing, and what is offered for resumption (RFC 5246 7.3).
 *
 * A frozen session is: length 2 | session, as the library saves it, without the peer's certificate |
 * randoms 64 | own CID behind its length | peer's CID behind its length. Its bytes come back from a disk, so
 * every field that the library would believe is looked at here first.
 */
#include <string.h>

#include <mbedtls/platform_util.h>

#include "internal.h"

#define SESSION_HEADER 5 /* major, minor and patch level of the library, two bytes of its build's flags */
#define CONTEXT_HEADER 8

/* The versions of the library's session and context formats, learned in dtls_begin. */
static uint8_t session_header[SESSION_HEADER], context_header[CONTEXT_HEADER];

/* Sessions of the library, by way of memory: it has no function that copies one. */
int copy_session(mbedtls_ssl_session *into, const mbedtls_ssl_session *from) {
    uint8_t saved[MAX_SAVED];
    size_t length;
    int error = mbedtls_ssl_session_save(from, saved, sizeof saved, &length);
    if (error == 0) {
        error = mbedtls_ssl_session_load(into, saved, length);
    }
    mbedtls_platform_zeroize(saved, sizeof saved);
    return error;
}

/* Takes frozen bytes apart; -1 for what cannot be a frozen session of a peer with such a CID. */
int take_apart(const uint8_t *frozen, size_t length, size_t cid_length, frozen_parts *parts) {
    size_t size = length < 2 ? 0 : ((size_t) frozen[0] << 8 | frozen[1]);
    /* Major, minor and the build's flags must be as they are now. The patch level stands in the header too,
     * but the format does not change with it, and dtls_begin has checked the format: without this a security
     * update of the library would cost every device a handshake. */
    if (size < SESSION_HEADER || size > length - 2 || size > MAX_SAVED ||
        memcmp(frozen + 2, session_header, 2) != 0 || memcmp(frozen + 5, session_header + 3, 2) != 0) {
        return -1;
    }
    parts->session = frozen + 2;
    parts->session_length = size;
    parts->rest = frozen + 2 + size;
    parts->rest_length = length - 2 - size;
    if (parts->rest_length < RANDOMS + 2) {
        return -1;
    }
    size_t own = parts->rest[RANDOMS];
    if (own > parts->rest_length - RANDOMS - 2 || own > MBEDTLS_SSL_CID_IN_LEN_MAX) {
        return -1;
    }
    size_t peer = parts->rest[RANDOMS + 1 + own];
    if (parts->rest_length != RANDOMS + 2 + own + peer || peer > MBEDTLS_SSL_CID_OUT_LEN_MAX ||
        !(own == cid_length || (own == 0 && peer == 0))) {
        return -1;
    }
    parts->own_cid = parts->rest + RANDOMS + 1;
    parts->own_cid_length = own;
    return 0;
}

/* The library's own session within a frozen one, of this end of a connection; -1: of either. */
static int load_session(mbedtls_ssl_session *session, const frozen_parts *parts, int endpoint) {
    uint8_t saved[MAX_SAVED];
    memcpy(saved, parts->session, parts->session_length);
    memcpy(saved, session_header, SESSION_HEADER);
    int error = mbedtls_ssl_session_load(session, saved, parts->session_length);
    mbedtls_platform_zeroize(saved, sizeof saved);
    if (error == 0 && (INNER(session, tls_version) != MBEDTLS_SSL_VERSION_TLS1_2 ||
                       INNER(session, id_len) > MAX_ID || INNER(session, peer_cert) != NULL ||
                       (endpoint != -1 && INNER(session, endpoint) != endpoint))) {
        mbedtls_ssl_session_free(session);
        mbedtls_ssl_session_init(session);
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    return error;
}

static int endpoint_of(const dtls_session *session) {
    return session->config->client ? MBEDTLS_SSL_IS_CLIENT : MBEDTLS_SSL_IS_SERVER;
}

int dtls_session_offer(dtls_session *session, const uint8_t *frozen, size_t length) {
    frozen_parts parts;
    mbedtls_ssl_session_free(&session->offer);
    mbedtls_ssl_session_init(&session->offer);
    session->has_offer = 0;
    if (!session->ready || take_apart(frozen, length, session->config->cid_length, &parts) != 0) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    int error = load_session(&session->offer, &parts, endpoint_of(session));
    if (error == 0 && session->config->client) {
        error = mbedtls_ssl_set_session(&session->ssl, &session->offer);
    }
    session->has_offer = error == 0;
    return error;
}

size_t dtls_frozen_id(const uint8_t *frozen, size_t length, uint8_t *out) {
    frozen_parts parts;
    mbedtls_ssl_session session;
    mbedtls_ssl_session_init(&session);
    size_t size = 0;
    /* Whosever Connection ID: the one the bytes name. */
    size_t saved = length < 2 ? 0 : ((size_t) frozen[0] << 8 | frozen[1]);
    size_t own = length < 2 || saved + RANDOMS >= length - 2 ? 0 : frozen[2 + saved + RANDOMS];
    if (take_apart(frozen, length, own, &parts) == 0 && load_session(&session, &parts, -1) == 0) {
        size = INNER(&session, id_len);
        memcpy(out, INNER(&session, id), size);
    }
    mbedtls_ssl_session_free(&session);
    return size;
}

size_t dtls_hello_id(const uint8_t *datagram, size_t length, uint8_t *out) {
    /* RFC 6347 4.2.2: record header 13, message header 12, version 2, random 32, then the session id. */
    const size_t place = RECORD_HEADER + 12 + 2 + 32;
    if (length <= place || datagram[0] != RECORD_HANDSHAKE || datagram[RECORD_HEADER] != 1) {
        return 0;
    }
    size_t size = datagram[place];
    if (size > MAX_ID || size > length - place - 1) {
        return 0;
    }
    memcpy(out, datagram + place + 1, size);
    return size;
}

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
    if (capacity - used < RANDOMS + 2 + own_length + peer_length) {
        return MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL;
    }
    memcpy(out + used, session->randoms, RANDOMS);
    used += RANDOMS;
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

/* A session as mbedtls_ssl_context_load reads it; its length, or 0 where `out` is too small. */
size_t compose_context(const frozen_parts *parts, const uint8_t *counters, uint8_t *out, size_t capacity) {
    size_t body = parts->session_length - SESSION_HEADER;
    if (capacity < CONTEXT_HEADER + 4 + body + parts->rest_length + 4 + 16 + 1 + 8 + 2 + 1) {
        return 0;
    }
    uint8_t *place = out;
    memcpy(place, context_header, CONTEXT_HEADER);
    place += CONTEXT_HEADER;
    *place++ = 0, *place++ = 0, *place++ = (uint8_t) (body >> 8), *place++ = (uint8_t) body;
    memcpy(place, parts->session + SESSION_HEADER, body);
    place += body;
    memcpy(place, parts->rest, parts->rest_length);
    place += parts->rest_length;
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

/* The library has to be able to read it; it is loaded once for the look. */
static int check_session(const dtls_session *session, const frozen_parts *parts) {
    mbedtls_ssl_session found;
    mbedtls_ssl_session_init(&found);
    int error = load_session(&found, parts, endpoint_of(session));
    mbedtls_ssl_session_free(&found);
    return error;
}

int dtls_thaw(dtls_session *session, const uint8_t *frozen, size_t length, const uint8_t *counters) {
    uint8_t context[2 * MAX_SAVED];
    frozen_parts parts;
    /* After one handshake and no renegotiation every record is of epoch 1. */
    if (!session->ready || counters[16] != 0 || counters[17] != 1 ||
        take_apart(frozen, length, session->config->cid_length, &parts) != 0 ||
        check_session(session, &parts) != 0) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    size_t size = compose_context(&parts, counters, context, sizeof context);
    int error = size == 0 ? MBEDTLS_ERR_SSL_BAD_INPUT_DATA
                          : mbedtls_ssl_context_load(&session->ssl, context, size);
    if (error == 0) {
        mbedtls_ssl_set_mtu(&session->ssl, 0);
        /* dtls_freeze asks for them again, and the library loads neither. */
        memcpy(session->randoms, parts.rest, RANDOMS);
        session->has_randoms = 1;
        dtls_session_cid(session, parts.own_cid_length > 0, parts.own_cid);
    } else if (size != 0) {
        session_set_up(session); /* the library has freed what it was loading into */
    }
    mbedtls_platform_zeroize(context, sizeof context);
    return error;
}

/* Reads the headers of the library's formats off an established session. The library's own context goes to
 * `context`, and the session is used up by it. */
int learn_formats(dtls_session *session, uint8_t *context, size_t capacity, size_t *length) {
    uint8_t saved[4 * MAX_SAVED];
    size_t size = 0;
    int error = mbedtls_ssl_session_save(INNER(&session->ssl, session), saved, sizeof saved, &size);
    if (error == 0 && size >= SESSION_HEADER) {
        memcpy(session_header, saved, SESSION_HEADER);
        error = mbedtls_ssl_context_save(&session->ssl, context, capacity, length);
    }
    mbedtls_platform_zeroize(saved, sizeof saved);
    if (error == 0 && *length >= CONTEXT_HEADER) {
        memcpy(context_header, context, CONTEXT_HEADER);
        return 0;
    }
    return error != 0 ? error : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}
