// SPDX-License-Identifier: Apache-2.0
/*
 * Structured log lines for the programs of ours that log (the server, the command): a message and
 * key=value fields, as logfmt, JSON, or plain lines for people, one write() a line. Libraries are
 * given a `struct log` or NULL, which is silence.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
/* LOG_PLAIN: "2006-01-02 15:04:05.000[ WARN|ERROR] message key=value ...", in local time. */
enum log_format { LOG_LOGFMT, LOG_JSON, LOG_PLAIN };

struct log {
    int fd;
    enum log_level level;
    enum log_format format;
    const char *prefix; /* of each line, as it is, at most LOG_PREFIX_MAX bytes; or NULL */
    bool colours;       /* LOG_PLAIN: times and keys are gray, as a terminal is told it */
    /* Gets the lines, without their ends, instead of fd; from any thread that logs. Or NULL. */
    void (*sink)(void *arg, enum log_level level, const char *line, size_t len);
    void *sink_arg;
};

#define LOG_PREFIX_MAX 256

struct log_field {
    const char *key;
    enum { LOG_TEXT, LOG_INT, LOG_BYTES } kind;
    const char *text;
    struct slice bytes;
    int64_t number;
};

#define LOG_STR(k, v)   ((struct log_field){.key = (k), .kind = LOG_TEXT, .text = (v)})
#define LOG_NUM(k, v)   ((struct log_field){.key = (k), .kind = LOG_INT, .number = (int64_t)(v)})
#define LOG_SLICE(k, v) ((struct log_field){.key = (k), .kind = LOG_BYTES, .bytes = (v)})

/* Values are quoted and escaped as needed (control characters, quotes, invalid UTF-8); each is cut
 * at 1,000 bytes. Thread-safe. Nothing happens for a level below log->level or a NULL log. */
void log_write(struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t count);

/* log_line(log, LOG_INFO, "listening", LOG_STR("address", text), LOG_NUM("port", port)): a message
 * and any number of fields, none included. Fields are not evaluated if the line is not written. */
#define log_line(to, severity, ...) LOG_LINE_(to, severity, __VA_ARGS__, ((struct log_field){0}))

/* The empty last field is there because ISO C wants one argument at least for the dots. */
#define LOG_LINE_(to, severity, message, ...)                                                      \
    do {                                                                                           \
        struct log *log_to_ = (to);                                                                \
        enum log_level log_level_ = (severity);                                                    \
                                                                                                   \
        if (log_to_ && log_level_ >= log_to_->level) {                                             \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                  \
                                                                                                   \
            log_write(log_to_, log_level_, (message), log_fields_,                                 \
                      sizeof log_fields_ / sizeof *log_fields_ - 1);                               \
        }                                                                                          \
    } while (0)

#endif
