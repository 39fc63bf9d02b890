
/*
 * TLS to Redis: 1.2 at least, the server's certificate and name verified,
 * sessions resumed.  Whoever builds with TLS may load the module into an nginx
 * without: nginx' functions are weak here, and looked for before they are used.
 */

#include "store/redis_log.h"
#include "store/redis_tls.h"


#if (NGX_SSL)

#pragma weak ngx_ssl_create
#pragma weak ngx_ssl_certificate
#pragma weak ngx_ssl_trusted_certificate
#pragma weak ngx_ssl_client_session_cache
#pragma weak ngx_ssl_cleanup_ctx
#pragma weak ngx_ssl_create_connection
#pragma weak ngx_ssl_handshake
#pragma weak ngx_ssl_shutdown
#pragma weak ngx_ssl_check_host
#pragma weak ngx_ssl_get_session
#pragma weak ngx_ssl_set_session
#pragma weak ngx_ssl_error
#pragma weak ngx_ssl_connection_index


#define LINES_REDIS_TLS_DEPTH  9


static ngx_int_t tls_session(lines_redis_connection_t *conn);
static ngx_int_t tls_verify(lines_redis_connection_t *conn);
static ngx_str_t *tls_name(lines_redis_connection_t *conn);
static ngx_uint_t tls_unknown(long verified);
static void tls_told(const ngx_ssl_conn_t *ssl, int where, int ret);
static void tls_save_session(ngx_connection_t *c);


char *
lines_redis_tls_init(ngx_conf_t *cf, lines_redis_conf_t *conf)
{
    ngx_ssl_t           *ssl;
    ngx_pool_cleanup_t  *cln;

    if (ngx_ssl_create == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"rediss://\" of \"lines_redis\" directive: this "
                           "nginx is built without TLS");
        return NGX_CONF_ERROR;
    }

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (ssl == NULL || cln == NULL) {
        return NGX_CONF_ERROR;
    }

    ssl->log = cf->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    /* what is left of a command may stand elsewhere when it goes on */

    SSL_CTX_set_mode(ssl->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                               |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    if (conf->cert.len
        && ngx_ssl_certificate(cf, ssl, &conf->cert, &conf->key, NULL)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (conf->ca.len) {
        if (ngx_ssl_trusted_certificate(cf, ssl, &conf->ca,
                                        LINES_REDIS_TLS_DEPTH)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }

    } else if (SSL_CTX_set_default_verify_paths(ssl->ctx) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_CONF_ERROR;
    }

    if (ngx_ssl_client_session_cache(cf, ssl, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    conf->tls = ssl;

    return NGX_CONF_OK;
}


ngx_int_t
lines_redis_tls_start(lines_redis_connection_t *conn,
    ngx_connection_handler_pt done)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = conn->connection;

    /* what nginx says of each attempt is said once, with the cause */

    conn->tls_log = *conn->log;

    if (!(conn->tls_log.log_level & NGX_LOG_DEBUG_ALL)) {
        conn->tls_log.log_level = NGX_LOG_ALERT;
    }

    c->log = &conn->tls_log;

    /* of what TLS keeps about the connection */

    c->pool = ngx_create_pool(512, conn->log);

    if (c->pool == NULL
        || ngx_ssl_create_connection(conn->conf->tls, c, NGX_SSL_CLIENT)
           != NGX_OK
        || tls_session(conn) != NGX_OK)
    {
        lines_redis_cause(conn, "no memory");
        return NGX_ERROR;
    }

    c->ssl->handler = done;
    c->ssl->save_session = tls_save_session;

    SSL_set_info_callback(c->ssl->connection, tls_told);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis TLS handshake: \"%V\"", conn->name);

    rc = ngx_ssl_handshake(c);

    if (rc != NGX_AGAIN) {
        done(c);
    }

    return NGX_OK;
}


/* the name that is asked for, and the session that goes on */

static ngx_int_t
tls_session(lines_redis_connection_t *conn)
{
    ngx_str_t       *name;
    ngx_ssl_conn_t  *ssl;

    ssl = conn->connection->ssl->connection;
    name = tls_name(conn);

    /* these strings end with a zero; an address is no name */

    if (name && SSL_set_tlsext_host_name(ssl, (char *) name->data) == 0) {
        return NGX_ERROR;
    }

    /* one that does not suit is no reason to stay away: a new one is made */

    if (conn->session) {
        (void) ngx_ssl_set_session(conn->connection, conn->session);
    }

    return NGX_OK;
}


/* NULL: an address */

static ngx_str_t *
tls_name(lines_redis_connection_t *conn)
{
    lines_redis_conf_t  *conf;

    conf = conn->conf;

    return conf->sni.len ? &conf->sni : conn->host.len ? &conn->host : NULL;
}


/*
 * A session keeps the certificate of its first handshake, and what was found of
 * it: one that was refused would be refused for as long as the session goes on,
 * whatever the server shows by then.
 */

ngx_int_t
lines_redis_tls_check(lines_redis_connection_t *conn)
{
    if (tls_verify(conn) != NGX_OK) {
        lines_redis_tls_forget(conn);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
tls_verify(lines_redis_connection_t *conn)
{
    int                rc;
    long               verified;
    X509              *cert;
    ngx_str_t         *name;
    ngx_connection_t  *c;
    u_char             text[NGX_SOCKADDR_STRLEN + 1];

    c = conn->connection;

    if (!c->ssl->handshaked) {
        lines_redis_cause(conn, "TLS handshake failed: is TLS spoken there?");
        return NGX_ERROR;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_EVENT, conn->log, 0,
                   "lines redis TLS: \"%V\" %s, reused:%d", conn->name,
                   SSL_get_version(c->ssl->connection),
                   SSL_session_reused(c->ssl->connection));

    if (!conn->conf->verify) {
        return NGX_OK;
    }

    verified = SSL_get_verify_result(c->ssl->connection);

    if (verified != X509_V_OK) {
        lines_redis_cause(conn, "the server's certificate is refused: %s%s",
                          tls_unknown(verified) ? "its authority is not known, "
                                                  "see \"cacert=\": " : "",
                          X509_verify_cert_error_string(verified));
        return NGX_ERROR;
    }

    name = tls_name(conn);

    if (name) {
        if (ngx_ssl_check_host(c, name) != NGX_OK) {
            lines_redis_cause(conn, "the server's certificate is not of \"%V\"",
                              name);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    text[ngx_sock_ntop(&conn->addrs[conn->current].sockaddr.sockaddr,
                       conn->addrs[conn->current].socklen, text,
                       NGX_SOCKADDR_STRLEN, 0)]
        = '\0';

    cert = SSL_get_peer_certificate(c->ssl->connection);
    rc = cert ? X509_check_ip_asc(cert, (char *) text, 0) : 0;
    X509_free(cert);

    if (rc != 1) {
        lines_redis_cause(conn, "the server's certificate is not of %s", text);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* what OpenSSL says of that takes an expert */

static ngx_uint_t
tls_unknown(long verified)
{
    switch (verified) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return 1;
    }

    return 0;
}


/*
 * Why a server refuses us is in its alert, at times after the handshake; why we
 * refuse what it sent then is in ours.  What nginx says of that is lost, and
 * errno does not know.
 */

static void
tls_told(const ngx_ssl_conn_t *ssl, int where, int ret)
{
    ngx_connection_t  *c;

    if (!(where & SSL_CB_ALERT) || (ret & 0xff) == SSL_AD_CLOSE_NOTIFY) {
        return;
    }

    c = ngx_ssl_get_connection((ngx_ssl_conn_t *) ssl);

    if (where & SSL_CB_READ) {

        /* OpenSSL has no word for this one */

        lines_redis_cause(c->data, "TLS: the server says \"%s\"",
                          (ret & 0xff) == SSL_AD_CERTIFICATE_REQUIRED
                          ? "certificate required"
                          : SSL_alert_desc_string_long(ret));

    } else if (c->ssl->handshaked && (ret >> 8) == SSL3_AL_FATAL) {
        lines_redis_cause(c->data,
                          "TLS: what the server sent is refused: \"%s\"",
                          SSL_alert_desc_string_long(ret));
    }
}


static void
tls_save_session(ngx_connection_t *c)
{
    lines_redis_connection_t *conn = c->data;

    lines_redis_tls_forget(conn);

    conn->session = ngx_ssl_get_session(c);
}


void
lines_redis_tls_close(lines_redis_connection_t *conn)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = conn->connection;
    pool = c->pool;

    /* without a word that would have to be waited for: Redis needs none */

    if (c->ssl) {
        c->timedout = 1;
        (void) ngx_ssl_shutdown(c);
    }

    c->pool = NULL;

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


void
lines_redis_tls_forget(lines_redis_connection_t *conn)
{
    if (conn->session) {
        SSL_SESSION_free(conn->session);
        conn->session = NULL;
    }
}

#else

char *
lines_redis_tls_init(ngx_conf_t *cf, lines_redis_conf_t *conf)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"rediss://\" of \"lines_redis\" directive: this build "
                       "of the module is without TLS, as the nginx that it "
                       "was configured with (--with-http_ssl_module)");

    return NGX_CONF_ERROR;
}


ngx_int_t
lines_redis_tls_start(lines_redis_connection_t *conn,
    ngx_connection_handler_pt done)
{
    return NGX_ERROR;
}


ngx_int_t
lines_redis_tls_check(lines_redis_connection_t *conn)
{
    return NGX_ERROR;
}


void
lines_redis_tls_close(lines_redis_connection_t *conn)
{
    /* void */
}


void
lines_redis_tls_forget(lines_redis_connection_t *conn)
{
    /* void */
}

#endif
