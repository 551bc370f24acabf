/* Datagrams in and out: ClientHellos of strangers, handshakes, records of established sessions.
 *
 * RFC 6347 4.1 and 4.2, RFC 9146 4. The library is given one record at a time. It would read a datagram to
 * its end, and a stranger may write into it what is meant for another state: behind any first record a
 * ClientHello that ends an established session, say. So what of a datagram counts is decided here.
 */
#include <string.h>

#include "internal.h"

/* The length of the record at the head of `data`, with its header; 0 where there is no whole one. */
static size_t record_length(const dtls_session *session, const uint8_t *data, size_t length) {
    size_t header = RECORD_HEADER;
    if (length > 0 && data[0] == RECORD_CID) {
        header += session->config->cid_length;
    }
    if (length < header) {
        return 0;
    }
    size_t size = header + ((size_t) data[header - 2] << 8 | data[header - 1]);
    return size <= length ? size : 0;
}

static size_t get_24(const uint8_t *data) {
    return (size_t) data[0] << 16 | (size_t) data[1] << 8 | data[2];
}

/* Whether a record has a part of a Certificate message that is longer than a device needs; each part tells
 * the length of the whole. The library works out every signature of a chain before it asks whether anybody
 * knows its first certificate, and a stranger can choose keys with which that takes seconds. */
static int shows_too_much(const dtls_session *session, const uint8_t *record, size_t length) {
    if (session->config->client || record[0] != RECORD_HANDSHAKE || record[3] != 0 || record[4] != 0) {
        return 0;
    }
    size_t at = RECORD_HEADER;
    while (length - at >= MESSAGE_HEADER) {
        if (record[at] == MBEDTLS_SSL_HS_CERTIFICATE && get_24(record + at + 1) > MAX_SHOWN) {
            return 1;
        }
        size_t part = get_24(record + at + 9);
        if (part > length - at - MESSAGE_HEADER) {
            return 0;
        }
        at += MESSAGE_HEADER + part;
    }
    return 0;
}

static void feed(dtls_session *session, const uint8_t *record, size_t length) {
    session->datagram = record;
    session->datagram_length = length;
    session->fed = record != NULL;
}

/* Whether an error ends a handshake: the library must not be asked to go on after it (ssl.h). */
static int is_fatal(int error) {
    return error != 0 && error != MBEDTLS_ERR_SSL_WANT_READ && error != MBEDTLS_ERR_SSL_WANT_WRITE &&
           error != MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED;
}

static int handshake(dtls_session *session, const uint8_t *record, size_t length) {
    if (session->failed != 0) {
        return session->failed;
    }
    if (record != NULL && shows_too_much(session, record, length)) {
        mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       MBEDTLS_SSL_ALERT_MSG_BAD_CERT);
        return MBEDTLS_ERR_SSL_BAD_CERTIFICATE;
    }
    feed(session, record, length);
    at_work = session;
    int error = mbedtls_ssl_handshake(&session->ssl);
    at_work = NULL;
    feed(session, NULL, 0);
    session->failed = is_fatal(error) ? error : 0;
    return error;
}

int dtls_hello(dtls_session *session, const uint8_t *datagram, size_t length,
               const uint8_t *address, size_t address_length) {
    mbedtls_ssl_context *ssl = &session->ssl;
    size_t size = record_length(session, datagram, length);
    if (session->failed != 0) {
        return session->failed;
    }
    if (!session->ready || session->config->client || session->config->ring == NULL || size == 0 ||
        mbedtls_ssl_is_handshake_over(ssl) || shows_too_much(session, datagram, size)) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    int error = mbedtls_ssl_set_client_transport_id(ssl, address, address_length);
    session->cookie_good = 0;
    feed(session, datagram, size);
    at_work = session;
    /* With a good cookie it stops before the server's flight, which is the costly part; without one it goes
     * on to the HelloVerifyRequest. */
    while (error == 0 && !(session->cookie_good && INNER(ssl, state) > MBEDTLS_SSL_CLIENT_HELLO)) {
        error = mbedtls_ssl_handshake_step(ssl);
    }
    at_work = NULL;
    feed(session, NULL, 0);
    session->failed = is_fatal(error) ? error : 0;
    if (error == 0) {
        return 1;
    }
    if (error == MBEDTLS_ERR_SSL_HELLO_VERIFY_REQUIRED) {
        return mbedtls_ssl_session_reset(ssl);
    }
    return error == MBEDTLS_ERR_SSL_WANT_READ ? MBEDTLS_ERR_SSL_DECODE_ERROR : error;
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

int dtls_advance(dtls_session *session, const uint8_t *datagram, size_t length) {
    int error = MBEDTLS_ERR_SSL_WANT_READ;
    if (datagram == NULL) {
        error = handshake(session, NULL, 0);
    }
    /* What stands behind the record that completes the handshake is lost, as on the way it may be. */
    while (datagram != NULL && error == MBEDTLS_ERR_SSL_WANT_READ) {
        size_t size = record_length(session, datagram, length);
        if (size == 0) {
            break;
        }
        error = handshake(session, datagram, size);
        datagram += size;
        length -= size;
    }
    if (error == 0) {
        /* Nothing is fragmented any more: a record of the largest message must fit. */
        mbedtls_ssl_set_mtu(&session->ssl, 0);
        return 1;
    }
    if (error == MBEDTLS_ERR_SSL_WANT_READ || error == MBEDTLS_ERR_SSL_WANT_WRITE) {
        return 0;
    }
    if (error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED) {
        return certificate_error(&session->ssl);
    }
    if (error == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
        /* RFC 5246 7.4.6. The library says nothing, and the client would wait for its own time-out. */
        mbedtls_ssl_send_alert_message(&session->ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
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

/* All messages of one record behind each other into `out`, each behind its length; what stopped it. */
static int open_record(dtls_session *session, const uint8_t *record, size_t length, uint8_t *out,
                       size_t capacity, size_t *used) {
    int result = 0;
    feed(session, record, length);
    /* A message is shorter than its record by more than the two bytes of its length. */
    while (result >= 0 && *used + 2 < capacity) {
        result = mbedtls_ssl_read(&session->ssl, out + *used + 2, capacity - *used - 2);
        if (result > 0) {
            out[*used] = (uint8_t) (result >> 8);
            out[*used + 1] = (uint8_t) result;
            *used += 2 + (size_t) result;
        }
    }
    feed(session, NULL, 0);
    return result;
}

long dtls_open(dtls_session *session, const uint8_t *datagram, size_t length, uint8_t *out, size_t capacity,
               int *flags) {
    mbedtls_ssl_context *ssl = &session->ssl;
    size_t used = 0;
    *flags = 0;
    if (!mbedtls_ssl_is_handshake_over(ssl) || capacity < length || length > 0xffff) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    for (size_t size; (size = record_length(session, datagram, length)) > 0;
         datagram += size, length -= size) {
        if (datagram[3] == 0 && datagram[4] == 0) {
            continue; /* of the handshake's beginning, and anybody's */
        }
        uint64_t top = INNER(ssl, in_window_top), window = INNER(ssl, in_window);
        int result = open_record(session, datagram, size, out, capacity, &used);
        if (INNER(ssl, in_window_top) == top && INNER(ssl, in_window) == window) {
            continue; /* whatever the library says of it: it was not authentic, or a repetition */
        }
        *flags |= INNER(ssl, in_window_top) > top ? 3 : 1;
        if (result == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || result == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE) {
            *flags |= 4;
            break;
        }
        if (result < 0 && result != MBEDTLS_ERR_SSL_WANT_READ && result != MBEDTLS_ERR_SSL_WANT_WRITE) {
            return result;
        }
    }
    return (long) used;
}

long dtls_seal(dtls_session *session, const uint8_t *message, size_t length, uint8_t *out, size_t capacity) {
    size_t before = session->out_length;
    if (!mbedtls_ssl_is_handshake_over(&session->ssl)) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    int result = mbedtls_ssl_write(&session->ssl, message, length);
    if (result < 0) {
        return result;
    }
    size_t size = session->out_length - before;
    session->out_length = before;
    if ((size_t) result != length || size < 2 || size - 2 > capacity) {
        return MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
    }
    memcpy(out, session->out + before + 2, size - 2);
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
