/* Poll: readiness of a descriptor on the event loop (uv_poll). The descriptor stays the caller's. */
#include "isle.h"

struct poll {
  uv_poll_t handle;
  napi_env env;
  napi_ref self; /* strong until close(): an open handle must not be collected */
  napi_ref callback;
  napi_async_context context;
  napi_async_cleanup_hook_handle cleanup;
  bool closing;
  bool detached; /* the JS object is gone */
  bool closed;
};

static void release(struct poll *poll) {
  if (poll->closed && poll->detached) free(poll);
}

static void on_closed(uv_handle_t *handle) {
  struct poll *poll = handle->data;
  poll->closed = true;
  napi_remove_async_cleanup_hook(poll->cleanup);
  release(poll);
}

static void start_close(struct poll *poll) {
  if (poll->closing) return;
  poll->closing = true;
  uv_close((uv_handle_t *)&poll->handle, on_closed);
}

static void close_poll(struct poll *poll) {
  if (poll->closing) return;
  start_close(poll);
  napi_async_destroy(poll->env, poll->context);
  napi_delete_reference(poll->env, poll->callback);
  napi_reference_unref(poll->env, poll->self, NULL);
}

/* The environment (a worker, the process) ends with the handle open. */
static void on_teardown(napi_async_cleanup_hook_handle hook, void *data) {
  (void)hook;
  start_close(data);
}

static void finalize(napi_env env, void *data, void *hint) {
  (void)hint;
  struct poll *poll = data;
  napi_delete_reference(env, poll->self);
  poll->detached = true;
  release(poll);
}

static void on_event(uv_poll_t *handle, int status, int events) {
  struct poll *poll = handle->data;
  napi_handle_scope scope;
  napi_env env = poll->env;
  napi_open_handle_scope(env, &scope);
  napi_value self, callback, argv[2];
  napi_get_reference_value(env, poll->self, &self);
  napi_get_reference_value(env, poll->callback, &callback);
  napi_create_int32(env, events, &argv[0]);
  napi_create_int32(env, status, &argv[1]);
  if (napi_make_callback(env, poll->context, self, callback, 2, argv, NULL) == napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

static napi_value construct(napi_env env, napi_callback_info info) {
  size_t argc = 2;
  napi_value argv[2], self, name;
  int32_t fd;
  uv_loop_t *loop;
  napi_valuetype type;
  napi_get_cb_info(env, info, &argc, argv, &self, NULL);
  napi_value target = NULL;
  napi_get_new_target(env, info, &target);
  if (!target || argc < 2 || napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
      napi_typeof(env, argv[1], &type) != napi_ok || type != napi_function) {
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "expected (fd, callback)");
    return NULL;
  }
  struct poll *poll = calloc(1, sizeof *poll);
  if (!poll) {
    isle_throw(env, ENOMEM, "poll");
    return NULL;
  }
  poll->env = env;
  poll->handle.data = poll;
  napi_get_uv_event_loop(env, &loop);
  int error = uv_poll_init(loop, &poll->handle, fd);
  if (error) {
    free(poll);
    isle_throw(env, -error, "poll");
    return NULL;
  }
  napi_add_async_cleanup_hook(env, on_teardown, poll, &poll->cleanup);
  napi_create_string_utf8(env, "isle.poll", NAPI_AUTO_LENGTH, &name);
  napi_async_init(env, NULL, name, &poll->context);
  napi_create_reference(env, argv[1], 1, &poll->callback);
  napi_wrap(env, self, poll, finalize, NULL, &poll->self);
  napi_reference_ref(env, poll->self, NULL);
  return self;
}

static struct poll *unwrap(napi_env env, napi_callback_info info, napi_value *argument) {
  size_t argc = 1;
  napi_value self;
  struct poll *poll = NULL;
  napi_get_cb_info(env, info, &argc, argument, &self, NULL);
  if (napi_unwrap(env, self, (void **)&poll) != napi_ok) {
    napi_throw_type_error(env, "ERR_INVALID_THIS", "not a Poll");
    return NULL;
  }
  return poll;
}

/* start(events): 1 readable, 2 writable, 4 disconnect; 0 stops. */
static napi_value method_start(napi_env env, napi_callback_info info) {
  napi_value argument;
  int32_t events = 0;
  struct poll *poll = unwrap(env, info, &argument);
  if (!poll || poll->closing) return NULL;
  napi_get_value_int32(env, argument, &events);
  int error = events ? uv_poll_start(&poll->handle, events, on_event) : uv_poll_stop(&poll->handle);
  if (error) isle_throw(env, -error, "poll");
  return NULL;
}

static napi_value method_close(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct poll *poll = unwrap(env, info, &argument);
  if (poll) close_poll(poll);
  return NULL;
}

static napi_value method_ref(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct poll *poll = unwrap(env, info, &argument);
  if (poll && !poll->closing) uv_ref((uv_handle_t *)&poll->handle);
  return NULL;
}

static napi_value method_unref(napi_env env, napi_callback_info info) {
  napi_value argument;
  struct poll *poll = unwrap(env, info, &argument);
  if (poll && !poll->closing) uv_unref((uv_handle_t *)&poll->handle);
  return NULL;
}

void isle_init_poll(napi_env env, napi_value exports) {
  const napi_property_descriptor methods[] = {
      {"start", NULL, method_start, NULL, NULL, NULL, napi_default_method, NULL},
      {"close", NULL, method_close, NULL, NULL, NULL, napi_default_method, NULL},
      {"ref", NULL, method_ref, NULL, NULL, NULL, napi_default_method, NULL},
      {"unref", NULL, method_unref, NULL, NULL, NULL, napi_default_method, NULL},
  };
  napi_value constructor;
  napi_define_class(env, "Poll", NAPI_AUTO_LENGTH, construct, NULL, 4, methods, &constructor);
  napi_set_named_property(env, exports, "Poll", constructor);
}
