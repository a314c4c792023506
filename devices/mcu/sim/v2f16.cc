// An instruction extension for Spike: pairs of 16-bit floats in integer registers, as on cores of the PULP
// class. The encodings (custom-0) are this project's own. Arithmetic is Berkeley SoftFloat's, to the nearest.
//
//   funct3 0  mac  rd, rs1, rs2   rd += rs1 * (lower half of rs2), in both lanes, one rounding each
//   funct3 1  add  rd, rs1, rs2   rd = rs1 + rs2, in both lanes
//   funct3 2  widen rd, rs1       rd = the lower half of rs1 as the bits of a 32-bit float
//   funct3 3  narrow rd, rs1      rd = the float in rs1 as the nearest half, zeros above it
#include <riscv/extension.h>
#include <riscv/processor.h>
#include <softfloat/softfloat.h>

static float16_t lane(reg_t pair, int i) { return float16_t{static_cast<uint16_t>(pair >> 16 * i)}; }

static reg_t both(float16_t low, float16_t high)
{
    return static_cast<int32_t>(static_cast<uint32_t>(low.v) | static_cast<uint32_t>(high.v) << 16);
}

static reg_t mac(processor_t *p, insn_t insn, reg_t pc)
{
    state_t &state = *p->get_state();
    const reg_t sum = state.XPR[insn.rd()], v = state.XPR[insn.rs1()];
    const float16_t factor = lane(state.XPR[insn.rs2()], 0);
    softfloat_roundingMode = softfloat_round_near_even;
    state.XPR.write(insn.rd(), both(f16_mulAdd(lane(v, 0), factor, lane(sum, 0)),
                                    f16_mulAdd(lane(v, 1), factor, lane(sum, 1))));
    return pc + 4;
}

static reg_t add(processor_t *p, insn_t insn, reg_t pc)
{
    state_t &state = *p->get_state();
    const reg_t a = state.XPR[insn.rs1()], b = state.XPR[insn.rs2()];
    softfloat_roundingMode = softfloat_round_near_even;
    state.XPR.write(insn.rd(), both(f16_add(lane(a, 0), lane(b, 0)), f16_add(lane(a, 1), lane(b, 1))));
    return pc + 4;
}

static reg_t widen(processor_t *p, insn_t insn, reg_t pc)
{
    state_t &state = *p->get_state();
    const float32_t made = f16_to_f32(lane(state.XPR[insn.rs1()], 0));
    state.XPR.write(insn.rd(), static_cast<int32_t>(made.v));
    return pc + 4;
}

static reg_t narrow(processor_t *p, insn_t insn, reg_t pc)
{
    state_t &state = *p->get_state();
    softfloat_roundingMode = softfloat_round_near_even;
    const float16_t made = f32_to_f16(float32_t{static_cast<uint32_t>(state.XPR[insn.rs1()])});
    state.XPR.write(insn.rd(), made.v);
    return pc + 4;
}

class v2f16_t : public extension_t
{
public:
    const char *name() const override { return "v2f16"; }

    std::vector<insn_desc_t> get_instructions(const processor_t &) override
    {
        return {
            insn_desc_t{0x0000000B, 0xFE00707F, mac, mac, mac, mac, mac, mac, mac, mac},
            insn_desc_t{0x0000100B, 0xFE00707F, add, add, add, add, add, add, add, add},
            insn_desc_t{0x0000200B, 0xFFF0707F, widen, widen, widen, widen, widen, widen, widen, widen},
            insn_desc_t{0x0000300B, 0xFFF0707F, narrow, narrow, narrow, narrow, narrow, narrow, narrow, narrow},
        };
    }

    std::vector<disasm_insn_t *> get_disasms(const processor_t *) override { return {}; }
};

REGISTER_EXTENSION(v2f16, []() { static v2f16_t it; return &it; })
