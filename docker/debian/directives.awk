# The manual page of the directives, of conf/directives.md: each with its
# syntax, default and context, and the first sentence of what is said of it.

function plain(text) {
    gsub(/\]\([^)]*\)/, "", text)       # [links](...)
    gsub(/[\[`]/, "", text)
    gsub(/\*\*?/, "", text)
    return escaped(text)
}

function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/—/, "\\(em", text)
    gsub(/–/, "\\(en", text)
    gsub(/…/, "...", text)
    if (text ~ /^[.']/)
        text = "\\\\&" text
    return text
}

# **words** and *words* are bold and italic; there, brackets are brackets
function marked(text,    out, bold, italic) {
    text = escaped(text)
    out = ""
    while (match(text, /\*\*?/)) {
        out = out substr(text, 1, RSTART - 1)
        if (RLENGTH == 2) {
            bold = !bold
            out = out (bold ? "\\fB" : "\\fR")
        } else {
            italic = !italic
            out = out (italic ? "\\fI" : "\\fR")
        }
        text = substr(text, RSTART + RLENGTH)
    }
    return out text
}

function told() {
    if (said == "")
        return
    # its end: a stop before a capital or a name, or of the paragraph
    if (match(said, /\. [A-Z`"\[]/))
        said = substr(said, 1, RSTART)
    print ".br\n" plain(said)
    said = ""
}

BEGIN {
    print ".TH NGX_HTTP_LINES_MODULE 7 \"\" \"Lines\" \"nginx\""
    print ".SH NAME\nngx_http_lines_module \\- directives of the Lines module of nginx"
    print ".SH DESCRIPTION"
    print "All that is said of each is in"
    print ".IR /usr/share/doc/libnginx\\-mod\\-http\\-lines/conf/directives.md ;"
    print "a configuration to copy is"
    print ".I lines.conf"
    print "beside it."
}

/^## /        { told(); name = ""; print ".SH " toupper(plain(substr($0, 4))); next }
/^### /       { told(); name = $2; print ".SS " name; next }
/^#/          { told(); name = ""; next }
name == ""    { next }
/^Syntax: /   { sub(/^Syntax: */, ""); gsub(/<br>/, "\n.br\n"); print ".nh\n.ad l\n" marked($0); next }
/^Default: /  { sub(/^Default: */, ""); print ".br\nDefault: " plain($0); next }
/^Context: /  { sub(/^Context: */, ""); print ".br\nContext: " plain($0); next }
/^$/          { if (said != "") { told(); name = "" } next }
              { said = said (said == "" ? "" : " ") $0 }

END           { told(); print ".SH SEE ALSO\n.BR nginx (8)" }
