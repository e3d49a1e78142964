/* Entry of the addon, and the frame that turns a table row into a promise and a sync function. */
#include "isle.h"
#include <pthread.h>

static void free_op(struct isle_op *op) {
  for (size_t i = 0; op->call->args[i]; i++) free(op->a[i].s);
  free(op->data);
  free(op->detail);
  free(op);
}

static const char *error_name(int error) { return uv_err_name(-error); }

static napi_value make_error(napi_env env, int error, const char *call, const char *rest) {
  napi_value code, text, result, value;
  char message[2 * PATH_MAX + 512];
  snprintf(message, sizeof message, "%s: %s, %s%s", error_name(error), uv_strerror(-error), call, rest);
  napi_create_string_utf8(env, error_name(error), NAPI_AUTO_LENGTH, &code);
  napi_create_string_utf8(env, message, NAPI_AUTO_LENGTH, &text);
  napi_create_error(env, code, text, &result);
  napi_create_int32(env, -error, &value);
  napi_set_named_property(env, result, "errno", value);
  napi_create_string_utf8(env, call, NAPI_AUTO_LENGTH, &value);
  napi_set_named_property(env, result, "syscall", value);
  return result;
}

void isle_throw(napi_env env, int error, const char *syscall) {
  napi_throw(env, make_error(env, error, syscall, ""));
}

/* Paths and the kernel's own words belong in the message: an errno alone explains no failed mount. */
static napi_value op_error(napi_env env, const struct isle_op *op) {
  char rest[2 * PATH_MAX + 256];
  size_t used = 0;
  rest[0] = 0;
  for (size_t i = 0; op->call->args[i]; i++) {
    if (op->call->args[i] != 'p' || !op->a[i].s || used >= sizeof rest - 1) continue;
    const char *before = used ? " -> " : " ";
    int n = snprintf(rest + used, sizeof rest - used, "%s'%s'", before, op->a[i].s);
    if (n > 0) used += (size_t)n;
  }
  if (op->detail && used < sizeof rest - 1) snprintf(rest + used, sizeof rest - used, ": %s", op->detail);
  return make_error(env, op->error, op->call->name, rest);
}

static napi_value op_result(napi_env env, const struct isle_op *op) {
  napi_value value = NULL;
  switch (op->call->result) {
    case 'n':
    case 'f':
    case 'e':
      napi_create_int64(env, op->number, &value);
      break;
    case 'b':
      napi_create_buffer_copy(env, op->size, op->data ? op->data : "", NULL, &value);
      break;
    default:
      napi_get_undefined(env, &value);
  }
  return value;
}

static bool read_string(napi_env env, napi_value value, struct isle_arg *arg) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok) return false;
  arg->s = malloc(length + 1);
  if (!arg->s) return false;
  napi_get_value_string_utf8(env, value, arg->s, length + 1, &arg->n);
  return true;
}

static bool read_bytes(napi_env env, napi_value value, struct isle_arg *arg) {
  bool typed = false;
  napi_is_typedarray(env, value, &typed);
  if (!typed) return read_string(env, value, arg);
  napi_typedarray_type type;
  void *data;
  size_t length;
  napi_get_typedarray_info(env, value, &type, &length, &data, NULL, NULL);
  if (type != napi_uint8_array) return false;
  arg->s = malloc(length + 1);
  if (!arg->s) return false;
  if (length) memcpy(arg->s, data, length);
  arg->s[length] = 0;
  arg->n = length;
  return true;
}

static bool read_integer(napi_env env, napi_value value, struct isle_arg *arg) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  if (type == napi_bigint) {
    bool lossless;
    napi_get_value_bigint_int64(env, value, &arg->i, &lossless);
    return true; /* two's complement: unsigned 64-bit values keep their bits */
  }
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) return false;
  if (!(number >= -9007199254740992.0 && number <= 9007199254740992.0)) return false;
  arg->i = (int64_t)number;
  return (double)arg->i == number;
}

static bool read_arg(napi_env env, char kind, napi_value value, struct isle_arg *arg) {
  napi_valuetype type;
  napi_typeof(env, value, &type);
  switch (kind) {
    case 'i':
      return read_integer(env, value, arg);
    case 'b':
      return read_bytes(env, value, arg);
    case 'z':
      if (type == napi_null || type == napi_undefined) return true;
      break;
  }
  /* Bytes too: file names need not be UTF-8. */
  return read_bytes(env, value, arg) && memchr(arg->s, 0, arg->n) == NULL;
}

static struct isle_op *read_op(napi_env env, napi_callback_info info) {
  size_t argc = ISLE_MAX_ARGS;
  napi_value argv[ISLE_MAX_ARGS];
  void *data;
  napi_get_cb_info(env, info, &argc, argv, NULL, &data);
  struct isle_op *op = calloc(1, sizeof *op);
  if (!op) {
    napi_throw_error(env, "ENOMEM", "out of memory");
    return NULL;
  }
  op->call = data;
  for (size_t i = 0; op->call->args[i]; i++) {
    /* Absent arguments read as undefined: Node-API fills argv up. */
    if (read_arg(env, op->call->args[i], argv[i], &op->a[i])) continue;
    char message[160];
    snprintf(message, sizeof message, "%s: argument %zu is not valid", op->call->name, i + 1);
    napi_throw_type_error(env, "ERR_INVALID_ARG_VALUE", message);
    free_op(op);
    return NULL;
  }
  return op;
}

static void *thread_main(void *data) {
  struct isle_op *op = data;
  op->call->run(op);
  return NULL;
}

static void run_op(struct isle_op *op) {
  if (!op->call->own_thread) {
    op->call->run(op);
    return;
  }
  pthread_t thread;
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 128 * 1024);
  int error = pthread_create(&thread, &attr, thread_main, op);
  pthread_attr_destroy(&attr);
  if (error)
    op->error = error;
  else
    pthread_join(thread, NULL);
}

static void execute(napi_env env, void *data) {
  (void)env;
  run_op(data);
}

static void complete(napi_env env, napi_status status, void *data) {
  struct isle_op *op = data;
  if (status == napi_cancelled) {
    if (op->call->result == 'f' && !op->error && op->number > 0) close((int)op->number);
  } else if (op->error) {
    napi_reject_deferred(env, op->deferred, op_error(env, op));
  } else {
    napi_resolve_deferred(env, op->deferred, op_result(env, op));
  }
  napi_delete_async_work(env, op->work);
  free_op(op);
}

static napi_value call_async(napi_env env, napi_callback_info info) {
  napi_value promise, name;
  struct isle_op *op = read_op(env, info);
  if (!op) {
    napi_deferred deferred;
    napi_value error;
    napi_get_and_clear_last_exception(env, &error);
    napi_create_promise(env, &deferred, &promise);
    napi_reject_deferred(env, deferred, error);
    return promise;
  }
  napi_create_string_utf8(env, op->call->name, NAPI_AUTO_LENGTH, &name);
  napi_create_promise(env, &op->deferred, &promise);
  napi_create_async_work(env, NULL, name, execute, complete, op, &op->work);
  napi_queue_async_work(env, op->work);
  return promise;
}

static napi_value call_sync(napi_env env, napi_callback_info info) {
  struct isle_op *op = read_op(env, info);
  if (!op) return NULL;
  napi_value result = NULL;
  run_op(op);
  if (op->error && op->call->result == 'e')
    napi_create_int64(env, -op->error, &result);
  else if (op->error)
    napi_throw(env, op_error(env, op));
  else
    result = op_result(env, op);
  free_op(op);
  return result;
}

void isle_register(napi_env env, napi_value exports, const struct isle_call *calls, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char sync_name[64];
    napi_value function;
    snprintf(sync_name, sizeof sync_name, "%sSync", calls[i].name);
    napi_create_function(env, calls[i].name, NAPI_AUTO_LENGTH, call_async, (void *)&calls[i], &function);
    napi_set_named_property(env, exports, calls[i].name, function);
    napi_create_function(env, sync_name, NAPI_AUTO_LENGTH, call_sync, (void *)&calls[i], &function);
    napi_set_named_property(env, exports, sync_name, function);
  }
}

NAPI_MODULE_INIT() {
  isle_init_mount(env, exports);
  isle_init_at(env, exports);
  isle_init_process(env, exports);
  isle_init_namespace(env, exports);
  isle_init_idmap(env, exports);
  isle_init_socket(env, exports);
  isle_init_poll(env, exports);
  isle_init_tree(env, exports);
  isle_init_spawn(env, exports);
  /* Weak: the addon also builds without that file. */
  if (isle_init_netlink) isle_init_netlink(env, exports);
  return exports;
}
