" Vim syntax of models of dhcc; the words are those of frontend/scan.l.
if exists("b:current_syntax")
  finish
endif
syn keyword dhcDeclaration import layer model fn preset variants recipe const param buffer table state init metric no_decay as kernel vjp
syn keyword dhcControl for in if else return yield tap require unit scan over along reverse checkpoint
syn keyword dhcOperator and or not
syn keyword dhcBoolean true false
syn keyword dhcSelf self
syn keyword dhcType f32 f64 bf16 i8 i16 i32 i64 u8 u16 u32 bool int float string enum list map
syn match dhcNumber "\v<[0-9][0-9_]*(\.[0-9][0-9_]*)?([eE][-+]?[0-9]+)?>"
syn region dhcString start=+"+ skip=+\\.+ end=+"+ end=+$+
syn match dhcComment "#.*$"
syn region dhcComment start="/\*" end="\*/"
hi def link dhcDeclaration Keyword
hi def link dhcControl Statement
hi def link dhcOperator Operator
hi def link dhcBoolean Boolean
hi def link dhcSelf Identifier
hi def link dhcType Type
hi def link dhcNumber Number
hi def link dhcString String
hi def link dhcComment Comment
setlocal commentstring=#\ %s
let b:current_syntax = "dhc"
