au BufNewFile,BufRead *.dhc setfiletype dhc
