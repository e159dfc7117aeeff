/* A library that says it is an object of dhcc, and has a state that nothing resets. */
const char *odd_describe(void);
const char *odd_describe(void) {
  return "{\"name\": \"odd\", \"entries\": [{\"name\": \"forward.step\", \"function\": \"odd_forward\", \"sizes\": [], "
         "\"inputs\": [], \"outputs\": [], \"weights\": false, \"state\": true}]}";
}
long long odd_forward_workspace_bytes(void);
long long odd_forward_workspace_bytes(void) { return 64; }
