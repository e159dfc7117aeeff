# FILES: a list of files, one a line; OUT: a C file with the digest of what they hold.
file(STRINGS ${FILES} files)
set(all "")
foreach(f ${files})
  file(SHA256 ${f} digest)
  string(APPEND all ${digest})
endforeach()
string(SHA256 id "${all}")
file(WRITE ${OUT} "#include \"passes/pipeline.h\"\n\nconst char dhc_build_id[] = \"${id}\";\n")
