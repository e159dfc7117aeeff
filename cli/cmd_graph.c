/* graph: what goes where in an entry, as dot for Graphviz or as a page that opens and closes layers. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "cli/page.h"

typedef struct Graph {
  const Cli *c;
  const cJSON *doc;
  const cJSON **layers, **nodes;
  int n_layers, n_nodes;
  int *parent, *level; /* by layer; the model itself is level 0 */
  int *block;          /* by node: the layer that it is drawn as part of; -1: by itself */
  int deepest;
} Graph;

static const char *text_of(const cJSON *row, const char *key) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, key));
  return text ? text : "";
}

static int number_of(const cJSON *row, const char *key) {
  const cJSON *v = cJSON_GetObjectItem(row, key);
  return v ? v->valueint : -1;
}

static int rows_of(const cJSON *list, const cJSON ***out) {
  int n = cJSON_GetArraySize(list), i = 0;
  const cJSON *row;
  *out = calloc((size_t)n + 1, sizeof **out);
  cJSON_ArrayForEach(row, list)
    if (*out) (*out)[i++] = row;
  return n;
}

static void graph_free(Graph *g) {
  free((void *)(uintptr_t)g->layers);
  free((void *)(uintptr_t)g->nodes);
  free(g->parent);
  free(g->level);
  free(g->block);
}

/* A layer that is called is one block where it lies `depth` layers below the model, its ops are where it lies above. */
static bool graph_open(Graph *g, int depth) {
  g->n_layers = rows_of(cJSON_GetObjectItem(g->doc, "layers"), &g->layers);
  g->n_nodes = rows_of(cJSON_GetObjectItem(g->doc, "nodes"), &g->nodes);
  g->parent = calloc((size_t)g->n_layers + 1, sizeof *g->parent);
  g->level = calloc((size_t)g->n_layers + 1, sizeof *g->level);
  g->block = calloc((size_t)g->n_nodes + 1, sizeof *g->block);
  if (!g->layers || !g->nodes || !g->parent || !g->level || !g->block) return false;
  for (int i = 0; i < g->n_layers; i++) {
    g->parent[i] = number_of(g->layers[i], "parent");
    g->level[i] = g->parent[i] < 0 ? 0 : g->level[g->parent[i]] + 1;
    if (g->level[i] > g->deepest) g->deepest = g->level[i];
  }
  for (int k = 0; k < g->n_nodes; k++) {
    int layer = number_of(g->nodes[k], "layer");
    bool edge = !strcmp(text_of(g->nodes[k], "op"), "input") || !strcmp(text_of(g->nodes[k], "op"), "result");
    g->block[k] = -1;
    if (edge || g->level[layer] < depth) continue;
    while (g->level[layer] > depth) layer = g->parent[layer];
    g->block[k] = layer;
  }
  return true;
}

/* ---- dot -------------------------------------------------------------------------------------- */

static void dot_text(const char *text, FILE *to) {
  for (; *text; text++) {
    if (*text == '"' || *text == '\\') fputc('\\', to);
    fputc(*text, to);
  }
}

static const char *last_part(const Graph *g, int layer) {
  const char *path = text_of(g->layers[layer], "path");
  size_t n = g->parent[layer] < 0 ? 0 : strlen(text_of(g->layers[g->parent[layer]], "path"));
  return *path ? path + n + (path[n] == '.') : text_of(g->doc, "model");
}

static void dot_block(const Graph *g, int layer, FILE *to) {
  char flops[48], params[48];
  const cJSON *l = g->layers[layer];
  fprintf(to, "  l%d [shape=box, style=filled, fillcolor=\"#dce8f7\", label=\"", layer);
  dot_text(last_part(g, layer), to);
  fprintf(to, "\\n%s\\n%s parameters, %s FLOPs\"];\n", text_of(l, "layer"),
          cli_short_number(cJSON_GetNumberValue(cJSON_GetObjectItem(l, "parameters")), "", params),
          cli_short_number(cJSON_GetNumberValue(cJSON_GetObjectItem(l, "flops")), "", flops));
}

static void dot_node(const Graph *g, int k, FILE *to) {
  const cJSON *n = g->nodes[k];
  const char *name = text_of(n, "name");
  fprintf(to, "  n%d [label=\"%s%s", k, text_of(n, "op"), *name ? " " : "");
  dot_text(name, to);
  fprintf(to, "\\n%s\"%s];\n", text_of(n, "type"), *name ? ", shape=ellipse" : "");
}

static bool layer_within(const Graph *g, int layer, int of) {
  while (layer >= 0 && layer != of) layer = g->parent[layer];
  return layer == of;
}

/* Blocks and ops of an open layer, those of open layers below it inside boxes of their own. */
static void dot_layer(const Graph *g, int layer, int depth, FILE *to) {
  for (int i = layer + 1; i < g->n_layers; i++) {
    bool used = false;
    if (g->parent[i] != layer) continue;
    for (int k = 0; k < g->n_nodes && !used; k++) used = layer_within(g, number_of(g->nodes[k], "layer"), i);
    if (!used) continue;
    if (g->level[i] == depth) {
      dot_block(g, i, to);
      continue;
    }
    fprintf(to, "  subgraph cluster%d { color=\"#9ab\"; label=\"", i);
    dot_text(last_part(g, i), to);
    fprintf(to, ": %s\";\n", text_of(g->layers[i], "layer"));
    dot_layer(g, i, depth, to);
    fputs("  }\n", to);
  }
  for (int k = 0; k < g->n_nodes; k++)
    if (g->block[k] < 0 && number_of(g->nodes[k], "layer") == layer) dot_node(g, k, to);
}

static void dot_end(const Graph *g, int k, FILE *to) {
  if (g->block[k] < 0) fprintf(to, "n%d", k);
  else fprintf(to, "l%d", g->block[k]);
}

/* Each pair once, though several tensors may go from one to the other. */
static void dot_edges(const Graph *g, FILE *to) {
  for (int k = 0; k < g->n_nodes; k++) {
    const cJSON *arg;
    cJSON_ArrayForEach(arg, cJSON_GetObjectItem(g->nodes[k], "args")) {
      int from = arg->valueint;
      bool inside = g->block[k] >= 0 && g->block[from] == g->block[k], again = false;
      for (int j = 0; j < k && !inside && !again && g->block[k] >= 0; j++) {
        const cJSON *a;
        if (g->block[j] != g->block[k]) continue;
        cJSON_ArrayForEach(a, cJSON_GetObjectItem(g->nodes[j], "args"))
          again = again || a->valueint == from || (g->block[from] >= 0 && g->block[a->valueint] == g->block[from]);
      }
      if (inside || again) continue;
      fputs("  ", to);
      dot_end(g, from, to);
      fputs(" -> ", to);
      dot_end(g, k, to);
      fprintf(to, " [label=\"%s\"];\n", text_of(g->nodes[from], "type"));
    }
  }
}

static void write_dot(const Graph *g, int depth, FILE *to) {
  fputs("digraph \"", to);
  dot_text(text_of(g->doc, "model"), to);
  fputs("\" {\n  label=\"", to);
  dot_text(text_of(g->doc, "model"), to);
  fprintf(to, ".%s, %s\"; labelloc=t; node [shape=box, fontname=\"sans-serif\", fontsize=10]; edge [fontname=\"sans-serif\", fontsize=8];\n",
          text_of(g->doc, "entry"), text_of(g->doc, "sizes"));
  if (depth == 0) {
    dot_block(g, 0, to);
    for (int k = 0; k < g->n_nodes; k++)
      if (g->block[k] < 0) dot_node(g, k, to);
  } else {
    dot_layer(g, 0, depth, to);
  }
  dot_edges(g, to);
  fputs("}\n", to);
}

/* ---- a page -------------------------------------------------------------------------------------- */

/* Draws what is open in columns of rows: a row is one behind the last of what it takes from; in a row, what takes from the left stands left. */
static const char script[] =
    "const L=G.layers,N=G.nodes,lev=L.map(()=>0),NS='http://www.w3.org/2000/svg';L.forEach((l,i)=>lev[i]=l.parent<0?0:lev[l.parent]+1);\n"
    "let open=new Set();const deepest=Math.max(...lev);\n"
    "function depth(d){open=new Set();L.forEach((l,i)=>{if(lev[i]<d)open.add(i)});draw()}\n"
    "function end(n){return n.op==='input'||n.op==='result'}\n"
    "function block(k){const n=N[k];if(end(n))return'n'+k;let way=[];for(let i=n.layer;i>=0;i=L[i].parent)way.unshift(i);\n"
    "for(const i of way)if(!open.has(i))return'l'+i;return'n'+k}\n"
    "function short(v){const u=['',' k',' M',' G',' T',' P'];let i=0;while(v>=999.5&&i<5){v/=1000;i++}return(i?v.toPrecision(3):Math.round(v))+u[i]}\n"
    "function lines(id){const i=+id.slice(1);if(id[0]==='l'){const l=L[i],p=l.parent<0?'':L[l.parent].path;\n"
    "return[(p?l.path.slice(p.length+1):l.path)||G.model,l.layer,short(l.parameters)+' parameters, '+short(l.flops)+' FLOPs',l.output||'']}\n"
    "const n=N[i];return[n.op+(n.name?' '+n.name:''),L[n.layer].path,n.type]}\n"
    "function draw(){const rank=new Map(),into=new Map();\n"
    "N.forEach((n,k)=>{const b=block(k);if(!into.has(b))into.set(b,new Map());for(const a of n.args){const f=block(a);if(f!==b)into.get(b).set(f,N[a].type)}});\n"
    "const ids=[...into.keys()],busy=new Set();function r(b){if(rank.has(b))return rank.get(b);if(busy.has(b))return 0;busy.add(b);\n"
    "let v=0;for(const f of into.get(b).keys())v=Math.max(v,r(f)+1);busy.delete(b);rank.set(b,v);return v}\n"
    "ids.forEach(r);const rows=[];ids.forEach(b=>(rows[rank.get(b)]=rows[rank.get(b)]||[]).push(b));const pos=new Map();\n"
    "const W=210,H=58,GX=16,GY=34;rows.forEach((row,y)=>{row.sort((a,b)=>mean(a)-mean(b));row.forEach((b,x)=>pos.set(b,{x:(x-(row.length-1)/2)*(W+GX),y:y*(H+GY)}))});\n"
    "function mean(b){const f=[...into.get(b).keys()].filter(x=>pos.has(x));return f.length?f.reduce((s,x)=>s+pos.get(x).x,0)/f.length:0}\n"
    "let x0=1/0,x1=-1/0;pos.forEach(p=>{x0=Math.min(x0,p.x);x1=Math.max(x1,p.x)});const w=x1-x0+W+20,h=rows.length*(H+GY)+10;\n"
    "const svg=document.getElementById('graph');svg.textContent='';svg.setAttribute('viewBox',(x0-10)+' -5 '+w+' '+h);svg.style.width=w+'px';svg.style.maxWidth='none';\n"
    "const el=(t,a,p)=>{const e=document.createElementNS(NS,t);for(const k in a)e.setAttribute(k,a[k]);(p||svg).appendChild(e);return e};\n"
    "for(const b of ids)for(const[f,t]of into.get(b)){const p=pos.get(f),q=pos.get(b),X=p.x+W/2,Y=p.y+H,x=q.x+W/2,y=q.y,far=rank.get(b)-rank.get(f)>1?(W+GX)/2+8*(rank.get(b)%3):0;\n"
    "const e=el('path',{d:`M${X} ${Y}C${X+far} ${Y+24} ${x+far} ${y-24} ${x} ${y}`,fill:'none',stroke:'#8899aa'});el('title',{},e).textContent=t}\n"
    "for(const b of ids){const p=pos.get(b),g=el('g',{transform:`translate(${p.x} ${p.y})`,class:b[0]==='l'?'layer':'op',id:b});el('rect',{width:W,height:H,rx:6},g);\n"
    "lines(b).slice(0,4).forEach((t,i)=>{const e=el('text',{x:8,y:14+13*i},g);e.textContent=t.length>32?t.slice(0,31)+'\\u2026':t;if(!i)e.setAttribute('font-weight',600)});\n"
    "el('title',{},g).textContent=lines(b).join('\\n');g.onclick=()=>{const i=+b.slice(1);if(b[0]==='l')open.add(i);else{const l=N[i].layer;L.forEach((_,k)=>{for(let j=k;j>=0;j=L[j].parent)if(j===l)open.delete(k)})}draw()}}\n"
    "document.getElementById('shown').textContent=ids.length}\n";

typedef struct Page {
  const Graph *g;
  int depth;
} Page;

/* JSON inside a script: nothing of it ends that. */
static void script_json(const cJSON *doc, FILE *to) {
  char *text = cJSON_PrintUnformatted(doc);
  if (!text) cli_doc_missing();
  for (const char *at = text ? text : "{}"; *at; at++) {
    if (*at == '<') fputs("\\u003c", to);
    else fputc(*at, to);
  }
  cJSON_free(text);
}

static int write_page(void *page, FILE *to) {
  const Page *p = page;
  char title[512];
  snprintf(title, sizeof title, "%s.%s", text_of(p->g->doc, "model"), text_of(p->g->doc, "entry"));
  page_begin(title, to);
  fputs("<style>#graph g{cursor:pointer}#graph rect{fill:#8881;stroke:#89a}#graph .layer rect{fill:#4a90d933}#graph text{font:11px system-ui,sans-serif;fill:currentColor}</style>\n<p>", to);
  figure_svg_text(text_of(p->g->doc, "sizes"), to);
  fputs(". <span id=\"shown\"></span> boxes. A layer opens where it is clicked, and closes where one of its ops is. Layers open: ", to);
  for (int d = 0; d <= p->g->deepest + 1; d++) fprintf(to, "<button onclick=\"depth(%d)\">%d</button> ", d, d);
  fputs("</p>\n<div class=\"wide\"><svg id=\"graph\" xmlns=\"http://www.w3.org/2000/svg\"></svg></div>\n<script>\nconst G=", to);
  script_json(p->g->doc, to);
  fprintf(to, ";\n%sdepth(%d);\n</script>\n", script, p->depth);
  page_end(to);
  return cli_doc_is_missing() ? cli_no_memory(p->g->c) : 0;
}

static int write_dot_file(void *page, FILE *to) {
  const Page *p = page;
  write_dot(p->g, p->depth, to);
  return 0;
}

/* ---- the command ------------------------------------------------------------------------------------ */

static int draw(const Cli *c, cJSON *doc) {
  Graph g = {.c = c, .doc = doc};
  int rc = 0;
  Page p = {&g, (int)c->depth};
  if (!graph_open(&g, p.depth)) rc = cli_no_memory(c);
  else if (c->outputs) rc = figure_replace(c, c->outputs, figure_ends(c->outputs, ".html") ? write_page : write_dot_file, &p);
  else if (!cli_doc(c)) write_dot(&g, p.depth, stdout);
  graph_free(&g);
  return rc;
}

int cmd_graph(const Cli *c) {
  if (c->outputs && !figure_ends(c->outputs, ".dot") && !figure_ends(c->outputs, ".html")) {
    cli_error(c, "graph: -o needs FILE that ends in .dot or .html, got \"%s\"", c->outputs);
    return 2;
  }
  dhc_session *s = NULL;
  dhc_model *m = NULL;
  char *text = NULL;
  int rc = cli_open(c, &s, &m);
  if (!rc) rc = cli_done(c, s, dhc_model_graph_json(m, c->entry, c->sizes, &text));
  cJSON *doc = text ? cJSON_Parse(text) : NULL;
  if (!rc && !doc) rc = cli_no_memory(c);
  if (!rc) rc = draw(c, doc);
  if (!rc && cli_doc(c)) {
    cli_add(cli_doc(c), "graph", doc);
    doc = NULL;
  }
  cJSON_Delete(doc);
  free(text);
  cli_close(c, s, m);
  return rc;
}
